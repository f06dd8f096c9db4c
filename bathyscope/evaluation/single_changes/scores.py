"""Score rows: every way of finding directions, on every concept, and how far the learnt ones lead."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from bathyscope.evaluation.intervals import bootstrap, by_document
from bathyscope.evaluation.scores import Score, score
from bathyscope.evaluation.single_changes.candidates import LEARNT
from bathyscope.evaluation.single_changes.reach import Reach
from bathyscope.evaluation.single_changes.turned import SingleChange

SHIFT, TARGET, UNTOUCHED, LEAD = (
    "cosine with the shift",
    "cosine with the target",
    "cosine with the target, nothing added",
    "lead in cosine with the shift",
)


def concept_scores(change: SingleChange, reached: Mapping[str, Reach], *, seed: int) -> list[Score]:
    """Rows of one concept, subject `way, concept`; intervals over groups of pairs.

    The lead of the learnt directions over each other way is of the same pairs: what both find hard cancels.
    """
    rows: list[Score] = []

    def row(subject: str, metric: str, values_P: Tensor) -> None:
        interval = bootstrap(_sums(change, values_P), lambda total: total[..., 0] / total[..., 1], seed=seed)
        rows.append(score(f"{subject}, {change.concept}", metric, interval, unit="groups", split="report half"))

    for way, found in reached.items():
        row(way, SHIFT, found.shift_P)
        row(way, TARGET, found.target_P)
    row("no direction", UNTOUCHED, next(iter(reached.values())).untouched_P)
    for way, found in reached.items():
        if LEARNT in reached and way != LEARNT:
            row(f"{LEARNT} over {way}", LEAD, reached[LEARNT].shift_P - found.shift_P)
    return rows


def mean_over_concepts(rows: Sequence[Score], concepts: Sequence[str]) -> dict[tuple[str, str], float]:
    """(way, metric) → mean over the concepts."""
    values: dict[tuple[str, str], list[float]] = {}
    for found in rows:
        for concept in concepts:
            if found.subject.endswith(f", {concept}"):
                values.setdefault((found.subject.removesuffix(f", {concept}"), found.metric), []).append(found.value)
    return {key: float(np.mean(each)) for key, each in values.items()}


def _sums(change: SingleChange, values_P: Tensor) -> Float[np.ndarray, "G 2"]:
    values = values_P.numpy()
    return by_document(change.report.groups_P, np.stack([values, np.ones_like(values)], axis=1))
