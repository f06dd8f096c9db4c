"""How well a direction tells true texts from false ones that did not teach it, beside two nulls.

Nulls: random directions, their sign set on the teaching half as a learner's is; and the same learner on labels in a
random order, measured against the true ones.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.evaluation.intervals import Interval, bootstrap
from bathyscope.evaluation.labelled import shuffled_labels
from bathyscope.evaluation.nulls import seed_apart
from bathyscope.evaluation.probes import auroc, mean_over_groups, right_answers, weighted_auroc
from bathyscope.evaluation.scores import Score, score
from bathyscope.vectors.contrast import Halved
from bathyscope.vectors.examples import Examples, Pool

VECTOR, RANDOM, SHUFFLED = "vector", "random direction", "shuffled labels"


def best_threshold(scores_T: Float[np.ndarray, " T"], labels_T: Bool[np.ndarray, " T"]) -> float:
    """The threshold above which most texts are true and below which most are false; half-way between two scores."""
    order = np.argsort(scores_T, kind="stable")
    ranked_T, true_T = scores_T[order], labels_T[order]
    right_C = np.concatenate([[0], (~true_T).cumsum()]) + np.concatenate([true_T[::-1].cumsum()[::-1], [0]])
    edges_C = np.concatenate([ranked_T[:1], (ranked_T[:-1] + ranked_T[1:]) / 2, ranked_T[-1:]])
    return float(edges_C[int(right_C.argmax())])


def detection(
    direction_D: Float[Tensor, " D"], halves: Halved, *, threshold: float, pool: Pool, n_random: int, seed: int
) -> list[Score]:
    """AUROC and accuracy at the threshold on the reporting half, intervals over groups; AUROC of random directions.

    The interval of `random direction` holds the middle 95 % of the directions themselves.
    """
    labels_T, groups_T = halves.report.labels_T, halves.report.groups_T
    scores_T = halves.report.scores(direction_D, pool)
    right = mean_over_groups(right_answers(scores_T - threshold, labels_T), groups_T, seed=seed)
    area = auroc(scores_T, labels_T, groups_T, seed=seed)
    rows = [score(VECTOR, "AUROC", area, unit="groups"), score(VECTOR, "accuracy", right, unit="groups")]
    if n_random:
        areas_R = _random_areas(halves, pool, n=n_random, seed=seed)
        low, high = np.quantile(areas_R, [0.025, 0.975])
        spread = Interval(value=float(np.mean(areas_R)), low=float(low), high=float(high), n=n_random)
        rows.append(score(RANDOM, "AUROC", spread, unit="directions"))
    return rows


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
    return _areas(halves.report, direction_D[:, None], pool)[0]


def shuffled_row(areas: Sequence[float], *, seed: int) -> Score:
    """The mean over learners of shuffled labels, which are the units."""
    sums_R2 = np.array([[area, 1.0] for area in areas])
    return score(SHUFFLED, "AUROC", bootstrap(sums_R2, lambda t: t[..., 0] / t[..., 1], seed=seed), unit="orders")


def _random_areas(halves: Halved, pool: Pool, *, n: int, seed: int) -> list[float]:
    """AUROC on the reporting half of each of `n` directions, turned to the side that is right on the teaching half."""
    generator = torch.Generator().manual_seed(seed_apart(seed))
    directions_DR = torch.randn(halves.teach.x_ND.shape[1], n, generator=generator)
    is_wrong_R = torch.tensor(_areas(halves.teach, directions_DR, pool)) < 0.5
    return _areas(halves.report, torch.where(is_wrong_R, -directions_DR, directions_DR), pool)


def _areas(examples: Examples, directions_DR: Float[Tensor, "D R"], pool: Pool) -> list[float]:
    scores_TR = examples.pooled(examples.x_ND @ directions_DR, pool).double().numpy()
    even_1T = np.ones((1, examples.n_texts))
    return [float(weighted_auroc(scores_T, examples.labels_T, even_1T)[0]) for scores_T in scores_TR.T]
