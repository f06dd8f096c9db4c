"""Sets of units chosen greedily, on bits of windows."""

from typing import Any, no_type_check

import numpy as np

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.explanations.kernels.pairs import pair_information


@compiled(reorder=False)
@no_type_check
def choose(
    fires: Any, bits: Any, candidates: Any, base: Any, n_tiles: Any, units: Any, scores: Any, first: Any, last: Any
) -> None:
    """For features first … last − 1."""
    for feature in range(first, last):
        covered = np.zeros(bits.shape[1], np.uint64)
        n_fires, reached = _count(fires[feature]), 0.0
        for place in range(units.shape[1]):
            best, best_unit = reached, -1
            for unit in candidates[feature]:
                if unit < 0 or _is_taken(base[unit], base, units[feature], place):
                    continue
                n_any, n_11 = _count_both(covered, bits[unit], fires[feature])
                information = pair_information(n_11, n_fires, n_any, n_tiles)
                if information > best:
                    best, best_unit = information, unit
            if best_unit < 0:
                break
            units[feature, place], scores[feature, place] = best_unit, best - reached
            reached = best
            for i in range(len(covered)):
                covered[i] |= bits[best_unit, i]


@compiled(reorder=False)
@no_type_check
def _is_taken(form: Any, base: Any, units: Any, n_taken: Any) -> Any:
    taken = False
    for i in range(n_taken):
        taken = taken or base[units[i]] == form
    return taken


@compiled(reorder=True)
@no_type_check
def _count_both(covered: Any, more: Any, fires: Any) -> Any:
    """Windows with any unit of the set, and those of them in which the feature fires."""
    n_any, n_11 = 0, 0
    for i in range(len(covered)):
        either = covered[i] | more[i]
        n_any += _ones(either)
        n_11 += _ones(either & fires[i])
    return n_any, n_11


@compiled(reorder=True)
@no_type_check
def _count(bits: Any) -> Any:
    total = 0
    for i in range(len(bits)):
        total += _ones(bits[i])
    return total


@compiled(reorder=False)
@no_type_check
def _ones(x: Any) -> Any:
    """Bits set in a 64-bit number (compilers turn this into one instruction)."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
