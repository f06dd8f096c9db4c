"""The largest cosines of each feature from a block of cosines that is used twice: for its rows and for its columns.

`cosines` [S, M] has a row for each of S features from `start` on and a column for every feature from `start` on; `best`
and `scores` [F, n] hold the nearest so far.
"""

from typing import Any, no_type_check

import numpy as np

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.features.kernels.best import insert


@compiled(reorder=False)
@no_type_check
def nearest_in_rows(cosines: Any, start: Any, best: Any, scores: Any, first: Any, last: Any) -> None:
    """For rows first … last − 1: who of the columns is nearest, without the feature itself."""
    for i in range(first, last):
        feature = start + i
        lowest = scores[feature, -1]
        for j in range(cosines.shape[1]):
            if cosines[i, j] >= lowest and j != i:
                insert(cosines[i, j], start + j, best[feature], scores[feature])
                lowest = scores[feature, -1]


@compiled(reorder=False)
@no_type_check
def nearest_in_columns(cosines: Any, start: Any, best: Any, scores: Any, first: Any, last: Any) -> None:
    """For columns first … last − 1 of those behind the S features themselves: who of the rows is nearest."""
    n_rows = cosines.shape[0]
    lowest = np.empty(last - first, cosines.dtype)
    for j in range(last - first):
        lowest[j] = scores[start + n_rows + first + j, -1]
    for i in range(n_rows):
        for j in range(last - first):
            score = cosines[i, n_rows + first + j]
            if score >= lowest[j]:
                feature = start + n_rows + first + j
                insert(score, start + i, best[feature], scores[feature])
                lowest[j] = scores[feature, -1]
