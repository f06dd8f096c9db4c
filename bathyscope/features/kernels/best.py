"""The best few of many, kept in order: the one place where ties are decided."""

from typing import Any, no_type_check

from bathyscope.dictionaries.kernels.compiled import compiled


@compiled(reorder=False)
@no_type_check
def insert(score: Any, feature: Any, features: Any, scores: Any) -> None:
    """Put a feature in its place among the best, where empty places are −1; of equal scores the lower number first."""
    place = len(features)
    while place > 0 and (
        features[place - 1] < 0
        or scores[place - 1] < score
        or (scores[place - 1] == score and features[place - 1] > feature)
    ):
        place -= 1
    if place == len(features):
        return
    for i in range(len(features) - 1, place, -1):
        features[i], scores[i] = features[i - 1], scores[i - 1]
    features[place], scores[place] = feature, score
