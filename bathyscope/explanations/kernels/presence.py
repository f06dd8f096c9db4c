"""Which units are near a token, and in which windows."""

from typing import Any, no_type_check

import numpy as np

from bathyscope.dictionaries.kernels.compiled import compiled


@compiled(reorder=False)
@no_type_check
def distinct(of_token: Any, starts: Any, stops: Any, units: Any, offsets: Any) -> None:
    """Write the distinct values ≥ 0 of each range of tokens, one range after the other, and where each ends."""
    at = 0
    for row in range(len(starts)):
        first = at
        for token in range(starts[row], stops[row]):
            unit = of_token[token]
            known = unit < 0
            for i in range(first, at):
                known = known or units[i] == unit
            if not known:
                units[at] = unit
                at += 1
        offsets[row + 1] = at


@compiled(reorder=False)
@no_type_check
def set_bits(rows: Any, places: Any, bits: Any) -> None:
    """Set bit `places[i]` of row `rows[i]`, for all i."""
    for i in range(len(rows)):
        bits[rows[i], places[i] >> 6] |= np.uint64(1) << np.uint64(places[i] & 63)
