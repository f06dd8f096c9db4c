"""Compiled loops of the fast sampler: options from uniform numbers, and attention by tables."""

from typing import Any, no_type_check

import numpy as np

from bathyscope.dictionaries.kernels.compiled import compiled


@compiled(reorder=False)
@no_type_check
def options(uniform_NC: Any, keep_CK: Any, other_CK: Any, n_options_C: Any) -> Any:
    """Options from numbers in [0, 1) by the alias method (Vose 1991), int64 [N, C].

    u·n has a whole part, a column, and a rest: the column's own option when the rest lies below `keep_CK`, else the
    one in `other_CK`.
    """
    n_rows, n_choices = uniform_NC.shape
    chosen_NC = np.empty((n_rows, n_choices), np.int64)
    for row in range(n_rows):
        for choice in range(n_choices):
            scaled = uniform_NC[row, choice] * n_options_C[choice]
            column = int(scaled)
            own = scaled - column < keep_CK[choice, column]
            chosen_NC[row, choice] = column if own else other_CK[choice, column]
    return chosen_NC


@compiled(reorder=True)
@no_type_check
def attended(chosen_NC: Any, weight_LCKH: Any, values_CKHW: Any) -> Any:
    """What every head of the last position takes from all positions: means of values [N, H, W] by their weights.

    `weight_LCKH` is the unnormalised attention of the last position's option L to option K of position C.
    """
    n_rows, n_choices = chosen_NC.shape
    n_heads, width = values_CKHW.shape[2:]
    taken_NHW = np.empty((n_rows, n_heads, width), np.float32)
    sum_W = np.empty(width, np.float32)
    for row in range(n_rows):
        last = chosen_NC[row, n_choices - 1]
        for head in range(n_heads):
            total = np.float32(0)
            sum_W[:] = 0
            for choice in range(n_choices):
                option = chosen_NC[row, choice]
                weight = weight_LCKH[last, choice, option, head]
                total += weight
                for i in range(width):
                    sum_W[i] += weight * values_CKHW[choice, option, head, i]
            for i in range(width):
                taken_NHW[row, head, i] = sum_W[i] / total
    return taken_NHW
