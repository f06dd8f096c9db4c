"""Bootstrap resamples of the rows of one pass, and the interval that figures of them give.

Unlike `evaluation.intervals.resampled`, counts are bytes: 200 resamples of 65,536 rows take 13 MB.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

N_RESAMPLES = 200
"""Enough for the 2.5 % points of an interval whose model error is larger anyway."""
ROWS = 16
"""Resamples worked on at once."""


@functools.lru_cache(maxsize=1)
def counts(n: int, seed: int) -> NDArray[np.uint8]:
    """How often each of `n` rows is drawn in each resample [R, N]: the same for every event of a pass."""
    generator = np.random.default_rng(seed)
    found_RN = np.empty((N_RESAMPLES, n), dtype=np.uint8)
    for row_N in found_RN:  # 255 times the same row of n happens in no resample of any use
        row_N[:] = np.minimum(np.bincount(generator.integers(n, size=n), minlength=n), 255)
    found_RN.setflags(write=False)
    return found_RN


def over_resamples(
    n: int, log_p: Callable[[Float[NDArray[np.float64], "R N"]], Float[NDArray[np.float64], " R"]], seed: int
) -> Float[NDArray[np.float64], " R"]:
    """Logarithms of an estimate on every resample; `log_p` takes counts, a few resamples at once."""
    table_RN = counts(n, seed)
    return np.concatenate([log_p(table_RN[i : i + ROWS].astype(np.float64)) for i in range(0, N_RESAMPLES, ROWS)])


def percentiles(log_p_R: Float[NDArray[np.float64], " R"], level: float) -> tuple[float, float]:
    """Lower and upper end of the percentile interval; infinite logarithms stand where they fall."""
    ordered_R = np.sort(log_p_R)
    last = len(ordered_R) - 1
    low, high = math.floor((1 - level) / 2 * last), math.ceil((1 + level) / 2 * last)
    return float(ordered_R[low]), float(ordered_R[high])
