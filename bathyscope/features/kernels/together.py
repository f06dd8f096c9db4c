"""The features whose firing correlates most with each feature's: one pass over the tokens on which it fires."""

from typing import Any, no_type_check

import numpy as np

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.features.kernels.best import insert

MARGIN = 1e-9
"""By how much less than the last of the best a rough score must be to be passed over; far more than it errs by."""


@compiled(reorder=False)
@no_type_check
def most_together(
    starts: Any, tokens: Any, token_starts: Any, features: Any, spread: Any, best: Any, scores: Any,
    first: Any, last: Any,
) -> None:  # fmt: skip
    """For features first … last − 1: count who fires on the same tokens, then keep the best by insertion.

    Only features that fire with one are looked at: no step passes over all of them. Scores are float64. What is far
    below the last of the best is passed over by a product; the score itself has two divisions.
    """
    n_tokens = len(token_starts) - 1
    both = np.zeros(len(spread), np.int64)
    touched = np.empty(len(spread), np.int32)
    for feature in range(first, last):
        if spread[feature] == 0:
            continue
        n_touched = 0
        for i in range(starts[feature], starts[feature + 1]):
            token = tokens[i]
            for j in range(token_starts[token], token_starts[token + 1]):
                other = features[j]
                if both[other] == 0:
                    touched[n_touched] = other
                    n_touched += 1
                both[other] += 1
        n_fires = starts[feature + 1] - starts[feature]
        share = n_fires / n_tokens
        lowest = 0.0
        for i in range(n_touched):
            other = touched[i]
            n_both, both[other] = both[other], 0
            if other == feature or spread[other] == 0:
                continue
            n_other = starts[other + 1] - starts[other]
            if n_both - n_other * share < lowest * spread[other]:
                continue
            expected = n_other * n_fires / n_tokens
            phi = (n_both - expected) * (n_tokens / (spread[feature] * spread[other]))
            if phi > 0:
                insert(phi, other, best[feature], scores[feature])
                lowest = scores[feature, -1] * (1 - MARGIN) * spread[feature] / n_tokens
