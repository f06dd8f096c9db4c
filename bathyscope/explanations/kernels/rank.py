"""The units of highest information with each feature: one pass over its firings."""

from typing import Any, no_type_check

import numpy as np

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.explanations.kernels.pairs import pair_information


@compiled(reorder=False)
@no_type_check
def rank(
    starts: Any, rows: Any, row_of: Any, near_units: Any, near_offsets: Any, present: Any, min_joint: Any,
    best_units: Any, best_scores: Any, best_joint: Any, first: Any, last: Any,
) -> None:  # fmt: skip
    """For features first … last − 1: count units near firings, then keep the best by insertion."""
    n = len(near_offsets) - 1
    counts = np.zeros(len(present), np.int32)
    touched = np.empty(len(present), np.int32)
    for feature in range(first, last):
        n_touched = 0
        for i in range(starts[feature], starts[feature + 1]):
            row = row_of[rows[i]]
            for j in range(near_offsets[row], near_offsets[row + 1]):
                unit = near_units[j]
                if counts[unit] == 0:
                    touched[n_touched] = unit
                    n_touched += 1
                counts[unit] += 1
        n_fires = starts[feature + 1] - starts[feature]
        for i in range(n_touched):
            unit = touched[i]
            n_11 = counts[unit]
            counts[unit] = 0
            if n_11 >= min_joint and np.int64(n_11) * n > np.int64(n_fires) * present[unit]:  # they attract each other
                score = pair_information(n_11, n_fires, present[unit], n)
                if score > 0:
                    insert(score, unit, n_11, best_units[feature], best_scores[feature], best_joint[feature])


@compiled(reorder=False)
@no_type_check
def insert(score: Any, unit: Any, n_11: Any, units: Any, scores: Any, joint: Any) -> None:
    """Put a unit in its place among the best; among equal scores the lower unit (the more frequent) goes first."""
    place = len(units)
    while place > 0 and (
        units[place - 1] < 0 or scores[place - 1] < score or (scores[place - 1] == score and units[place - 1] > unit)
    ):
        place -= 1
    if place == len(units):
        return
    for i in range(len(units) - 1, place, -1):
        units[i], scores[i], joint[i] = units[i - 1], scores[i - 1], joint[i - 1]
    units[place], scores[place], joint[place] = unit, score, n_11
