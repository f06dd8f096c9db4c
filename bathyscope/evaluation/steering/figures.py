"""From ratings to figures: for each method and concept the strength is chosen on some instructions, reported on others.

Instructions of even number choose, those of odd number report; with folds turned round, so that both halves are used,
every answer is reported once at a strength that it had no part in choosing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bathyscope.evaluation.intervals import Interval, bootstrap, by_document
from bathyscope.evaluation.scores import Score, score
from bathyscope.evaluation.steering.judges.judge import ASPECTS, BEST, Aspect, Known
from bathyscope.evaluation.steering.ratings import Rated, harmonic

SCORE = "score"
"""Harmonic mean of the three ratings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One answer at the strength chosen on the other half of the instructions."""

    concept: str
    method: str
    instruction: int
    factor: float
    figures: Mapping[str, float]
    """`score`, and the rating of each aspect."""


def chosen_factors(rated: Sequence[Rated], panel: Mapping[Aspect, str]) -> dict[tuple[str, str, int], float]:
    """Concept, method and half (0: even instructions report, 1: odd ones) → the factor that is best on the other half.

    Ties go to the smallest factor. Answers without a score take no part.
    """
    means: dict[tuple[str, str, int], dict[float, list[float]]] = {}
    for row in rated:
        value = harmonic(row, panel)
        if value is not None:
            key = (row.answer.concept, row.answer.method, 1 - row.answer.instruction % 2)
            means.setdefault(key, {}).setdefault(row.answer.factor, []).append(value)
    return {
        key: min(of_factor, key=lambda factor: (-float(np.mean(of_factor[factor])), factor))
        for key, of_factor in means.items()
    }


def reported(rated: Sequence[Rated], panel: Mapping[Aspect, str]) -> list[Reported]:
    """Every answer that counts: those at the factor chosen on the other half of the instructions."""
    chosen, found = chosen_factors(rated, panel), list[Reported]()
    for row in rated:
        answer, value = row.answer, harmonic(row, panel)
        if value is None or chosen.get((answer.concept, answer.method, answer.instruction % 2)) != answer.factor:
            continue
        ratings = {aspect: row.ratings[aspect, panel[aspect]] for aspect in ASPECTS}
        found.append(
            Reported(
                concept=answer.concept,
                method=answer.method,
                instruction=answer.instruction,
                factor=answer.factor,
                figures={SCORE: value, **{name: float(rating or 0) for name, rating in ratings.items()}},
            )
        )
    return found


def method_scores(rows: Sequence[Reported], *, judged_by: str, seed: int) -> list[Score]:
    """For each method the mean score and ratings over concepts and instructions; concepts are resampled."""
    found: list[Score] = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        for name in own[0].figures:
            interval = _mean(own, name, [row.concept for row in own], seed)
            found.append(score(method, f"{name} · {judged_by}", interval, unit="concepts", split="report instructions"))
    return found


def concept_scores(rows: Sequence[Reported], *, judged_by: str, seed: int) -> list[Score]:
    """For each method and concept the mean score; instructions are resampled."""
    found: list[Score] = []
    for method, concept in dict.fromkeys((row.method, row.concept) for row in rows):
        own = [row for row in rows if (row.method, row.concept) == (method, concept)]
        interval = _mean(own, SCORE, [str(row.instruction) for row in own], seed)
        metric = f"{SCORE} of {concept} · {judged_by}"
        found.append(score(method, metric, interval, unit="instructions", split="report instructions"))
    return found


def ratio(rows: Sequence[Reported], method: str, beside: Sequence[str], *, seed: int) -> Interval:
    """Mean score of a method over that of others, on the same resamples of concepts.

    Infinite where the others have none; bounds are infinite where they have none in some resample.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        found = bootstrap(
            _side_by_side(rows, method, beside), lambda t: (t[..., 0] / t[..., 1]) / (t[..., 2] / t[..., 3]), seed=seed
        )
    if np.isfinite([found.value, found.low, found.high]).all():
        return found
    return Interval(value=found.value if np.isfinite(found.value) else np.inf, low=-np.inf, high=np.inf, n=found.n)


def difference(rows: Sequence[Reported], method: str, beside: Sequence[str], *, seed: int) -> Interval:
    """Mean score of a method less that of others, on the same resamples of concepts."""
    return bootstrap(
        _side_by_side(rows, method, beside), lambda t: t[..., 0] / t[..., 1] - t[..., 2] / t[..., 3], seed=seed
    )


def _side_by_side(rows: Sequence[Reported], method: str, beside: Sequence[str]) -> Float[np.ndarray, "G 4"]:
    """For each concept the sum and number of the method's scores, then of the others'."""
    kept = [row for row in rows if row.method == method or row.method in beside]
    columns = np.array(
        [
            [row.figures[SCORE], 1.0, 0.0, 0.0] if row.method == method else [0.0, 0.0, row.figures[SCORE], 1.0]
            for row in kept
        ]
    )
    return by_document(_numbers([row.concept for row in kept]), columns)


def dose_scores(rated: Sequence[Rated], panel: Mapping[Aspect, str], *, seed: int) -> list[Score]:
    """For each method, concept and factor the mean score and ratings over all instructions: the curve to draw."""
    groups: dict[tuple[str, str, float], list[Rated]] = {}
    for row in rated:
        groups.setdefault((row.answer.method, row.answer.concept, row.answer.factor), []).append(row)
    found: list[Score] = []
    for (method, concept, factor), own in groups.items():
        values = {SCORE: [harmonic(row, panel) for row in own]}
        values |= {aspect: [row.ratings[aspect, panel[aspect]] for row in own] for aspect in ASPECTS}
        for name, given in values.items():
            known = np.array([[value, 1.0] for value in given if value is not None], dtype=np.float64)
            if len(known):
                interval = bootstrap(known, lambda t: t[..., 0] / t[..., 1], seed=seed)
                metric = f"{name} of {concept} at {factor:g}"
                found.append(score(method, metric, interval, unit="instructions", split="all instructions"))
    return found


def calibration_scores(name: str, aspect: Aspect, known: Sequence[Known], *, seed: int) -> list[Score]:
    """How often a judge is right where that is known: sensitivity (of what is true, rated 1 or more) and specificity
    (of what is not, rated 0), the share of true things rated 2, and the share without an answer."""
    parts = {
        "sensitivity": [(row.group, float(row.rating >= 1)) for row in _answered(known, is_true=True)],
        "rated 2 of what is true": [(row.group, float(row.rating >= BEST)) for row in _answered(known, is_true=True)],
        "specificity": [(row.group, float(row.rating == 0)) for row in _answered(known, is_true=False)],
        "share without an answer": [(row.group, float(row.rating is None)) for row in known],
    }
    found: list[Score] = []
    for metric, rows in parts.items():
        if rows:
            sums_GM = by_document(_numbers([group for group, _ in rows]), np.array([[value, 1.0] for _, value in rows]))
            interval = bootstrap(sums_GM, lambda t: t[..., 0] / t[..., 1], seed=seed)
            found.append(score(f"judge of {aspect}: {name}", metric, interval, unit="groups", split="known texts"))
    return found


@dataclass(frozen=True, slots=True)
class _Answered:
    group: str
    rating: int


def _answered(known: Sequence[Known], *, is_true: bool) -> list[_Answered]:
    return [_Answered(row.group, row.rating) for row in known if row.rating is not None and row.is_true is is_true]


def _mean(rows: Sequence[Reported], name: str, groups: Sequence[str], seed: int) -> Interval:
    sums_GM = by_document(_numbers(groups), np.array([[row.figures[name], 1.0] for row in rows]))
    return bootstrap(sums_GM, lambda t: t[..., 0] / t[..., 1], seed=seed)


def _numbers(groups: Sequence[str]) -> np.ndarray:
    return np.unique(np.array(groups), return_inverse=True)[1]
