"""How well a direction tells true texts from false ones that did not teach it, beside two nulls.

Nulls: random directions, their sign set on the teaching half as a learner's is; and the same learner on labels in a
random order, measured against the true ones.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.labelled import shuffled_labels
from bathyscope.evaluation.nulls import seed_apart
from bathyscope.evaluation.probes import (
    auroc,
    best_threshold,
    f1,
    f1_score,
    mean_over_groups,
    right_answers,
    weighted_auroc,
)
from bathyscope.evaluation.scores import Score, score
from bathyscope.vectors.contrast import Halved
from bathyscope.vectors.examples import Examples, Pool

VECTOR, RANDOM, SHUFFLED = "vector", "random direction", "shuffled labels"
HARD, OTHER = "false alarms on hard negatives", "false alarms on other negatives"


def detection(
    direction_D: Float[Tensor, " D"], halves: Halved, *, threshold: float | None, pool: Pool, n_random: int, seed: int
) -> list[Score]:
    """The figures of a direction on the reporting half, and those of random directions."""
    rows = detected(VECTOR, halves.report.scores(direction_D, pool), halves.report, threshold=threshold, seed=seed)
    return [*rows, *random_rows(halves, pool, n=n_random, seed=seed)] if n_random else rows


def detected(
    subject: str, scores_T: Float[np.ndarray, " T"], report: Examples, *, threshold: float | None, seed: int
) -> list[Score]:
    """AUROC, accuracy and F1 of scores of texts, with intervals over groups; a text above the threshold is called true.

    Where the texts have hard negatives, also the share of those, and of the others if there are any, that is called
    true. Without a threshold none is.
    """
    above_T = scores_T - (np.inf if threshold is None else threshold)
    labels_T, groups_T = report.labels_T, report.groups_T
    found = {
        "AUROC": auroc(scores_T, labels_T, groups_T, seed=seed),
        "accuracy": mean_over_groups(right_answers(above_T, labels_T), groups_T, seed=seed),
        "F1": f1(above_T > 0, labels_T, groups_T, seed=seed),
    }
    if report.is_hard_T is not None:
        for name, of_T in ((HARD, report.is_hard_T), (OTHER, ~labels_T & ~report.is_hard_T)):
            if of_T.any():
                alarms_T = (above_T[of_T] > 0).astype(np.float64)
                found[name] = mean_over_groups(alarms_T, groups_T[of_T], seed=seed)
    return [score(subject, metric, interval, unit="groups") for metric, interval in found.items()]


def random_rows(halves: Halved, pool: Pool, *, n: int, seed: int) -> list[Score]:
    """AUROC and F1 of `n` directions, sign and threshold set on the teaching half: the mean and the middle 95 %."""
    generator = torch.Generator().manual_seed(seed_apart(seed))
    directions_DR = torch.randn(halves.teach.x_ND.shape[1], n, generator=generator)
    teach_TR, report_TR = (_along(half, directions_DR, pool) for half in halves)
    sign_R = np.where(np.array(_areas(teach_TR, halves.teach)) < 0.5, -1.0, 1.0)
    teach_TR, report_TR = teach_TR * sign_R, report_TR * sign_R
    thresholds = [best_threshold(scores_T, halves.teach.labels_T) for scores_T in teach_TR.T]
    above_TR = report_TR > np.array([np.inf if each is None else each for each in thresholds])
    scores_R = [f1_score(above_T, halves.report.labels_T) for above_T in above_TR.T]
    return [_spread("AUROC", _areas(report_TR, halves.report)), _spread("F1", scores_R)]


def shuffled(examples: Examples, *, seed: int) -> Examples:
    """The same texts under labels that say nothing: half of each label is wrong; half of the pairs are turned."""
    if not examples.is_paired:
        return dataclasses.replace(examples, labels_T=shuffled_labels(examples.labels_T, seed=seed))
    order_P2 = np.arange(examples.n_texts).reshape(-1, 2)
    turned = np.random.default_rng(seed).permutation(len(order_P2))[: len(order_P2) // 2]
    order_P2[turned] = order_P2[turned, ::-1]
    return dataclasses.replace(examples.choose(order_P2.ravel()), labels_T=examples.labels_T)


def report_area(direction_D: Float[Tensor, " D"], halves: Halved, pool: Pool) -> float:
    """AUROC on the reporting half, without an interval."""
    return _areas(_along(halves.report, direction_D[:, None], pool), halves.report)[0]


def shuffled_row(areas: Sequence[float], *, seed: int) -> Score:
    """The mean over learners of shuffled labels, which are the units."""
    mean = mean_over_groups(np.array(areas), np.arange(len(areas)), seed=seed)
    return score(SHUFFLED, "AUROC", mean, unit="orders")


def _spread(metric: str, figures_R: Sequence[float]) -> Score:
    low, high = np.quantile(figures_R, [0.025, 0.975])
    spread = Interval(value=float(np.mean(figures_R)), low=float(low), high=float(high), n=len(figures_R))
    return score(RANDOM, metric, spread, unit="directions")


def _along(examples: Examples, directions_DR: Float[Tensor, "D R"], pool: Pool) -> Float[np.ndarray, "T R"]:
    return examples.pooled(examples.x_ND @ directions_DR, pool).double().numpy()


def _areas(scores_TR: Float[np.ndarray, "T R"], examples: Examples) -> list[float]:
    even_1T = np.ones((1, examples.n_texts))
    return [float(weighted_auroc(scores_T, examples.labels_T, even_1T)[0]) for scores_T in scores_TR.T]
