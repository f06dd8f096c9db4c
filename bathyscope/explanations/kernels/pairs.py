"""Mutual information of one pair of events, for use inside compiled loops."""

from typing import Any, no_type_check

import numpy as np

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.explanations.information import SMOOTHING


@compiled(reorder=False)
@no_type_check
def pair_information(n_11: Any, n_first: Any, n_second: Any, n: Any) -> Any:
    """`information` of one pair."""
    total = n + 4 * SMOOTHING
    a, b = (n_11 + SMOOTHING) / total, (n_first - n_11 + SMOOTHING) / total
    c, d = (n_second - n_11 + SMOOTHING) / total, (n - n_first - n_second + n_11 + SMOOTHING) / total
    first, second = a + b, a + c
    nats = a * np.log(a / (first * second)) + b * np.log(b / (first * (1 - second)))
    nats += c * np.log(c / ((1 - first) * second)) + d * np.log(d / ((1 - first) * (1 - second)))
    return nats if a * d > b * c else -nats
