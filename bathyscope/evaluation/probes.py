"""Linear probes for a yes-or-no label, and how often they are right on texts that they have not seen.

Every probe is a score per text, positive for true. Fitting sees the training half only; knows nothing of dictionaries.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bathyscope.evaluation.intervals import Interval, bootstrap, by_document

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of L2 that cross-validation chooses from, on standardised inputs."""
FOLDS = 5
MAX_STEPS = 2000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """score(x) = x[columns] · weights + bias."""

    columns: Int[np.ndarray, " C"]
    """Input columns that are read."""
    weights: Float[np.ndarray, " C"]
    """Weight of each, in the units of the input."""
    bias: float

    def scores(self, x_TD: Float[np.ndarray, "T D"]) -> Float[np.ndarray, " T"]:
        """Scores of texts; above 0 means true."""
        return x_TD[:, self.columns].astype(np.float64) @ self.weights + self.bias


def largest_difference(
    x_TD: Float[np.ndarray, "T D"], labels_T: Bool[np.ndarray, " T"], *, k: int
) -> Int[np.ndarray, " K"]:
    """The k columns whose means differ most between true and false texts, the largest difference first."""
    shares_T = labels_T / labels_T.sum() - ~labels_T / (~labels_T).sum()
    difference_D = np.abs(shares_T @ x_TD.astype(np.float64, copy=False))
    return np.argsort(-difference_D, kind="stable")[:k]


def sparse_probe(x_TD: Float[np.ndarray, "T D"], labels_T: Bool[np.ndarray, " T"], *, k: int) -> Probe:
    """Logistic regression on the k columns of `largest_difference` (SAEBench sparse probing, arXiv 2503.09532).

    Columns are standardised for the fit (L2 with C = 1), the weights are given back in units of the input.
    """
    columns = largest_difference(x_TD, labels_T, k=k)
    return column_probe(x_TD, labels_T, columns, penalty=1.0)


def dense_probe(x_TD: Float[np.ndarray, "T D"], labels_T: Bool[np.ndarray, " T"], *, penalty: float) -> Probe:
    """Logistic regression on all columns, standardised; `penalty` is the inverse strength of L2."""
    return column_probe(x_TD, labels_T, np.arange(x_TD.shape[1]), penalty=penalty)


def best_penalty(
    x_TD: Float[np.ndarray, "T D"], labels_T: Bool[np.ndarray, " T"], groups_T: Int[np.ndarray, " T"]
) -> float:
    """The one of `PENALTIES` that a dense probe does best with, by cross-validation over groups."""

    def fit(train_T: Bool[np.ndarray, " T"], penalty: float) -> Float[np.ndarray, " T"]:
        return dense_probe(x_TD[train_T], labels_T[train_T], penalty=penalty).scores(x_TD)

    return _cross_validated(fit, labels_T, groups_T)


def difference_of_means(x_TD: Float[np.ndarray, "T D"], labels_T: Bool[np.ndarray, " T"]) -> Probe:
    """score = x·(μ⁺ - μ⁻), zero half-way between the means; nothing is fitted."""
    x_TD = x_TD.astype(np.float64)
    true_D, false_D = x_TD[labels_T].mean(0), x_TD[~labels_T].mean(0)
    weights_D = true_D - false_D
    bias = -float(weights_D @ (true_D + false_D)) / 2
    return Probe(columns=np.arange(x_TD.shape[1]), weights=weights_D, bias=bias)


def word_scores(
    texts: Sequence[str],
    labels_T: Bool[np.ndarray, " T"],
    groups_T: Int[np.ndarray, " T"],
    is_train_T: Bool[np.ndarray, " T"],
) -> Float[np.ndarray, " T"]:
    """Scores of a logistic regression on which words occur; words and L2 (cross-validated) from the training half."""
    from sklearn.feature_extraction.text import CountVectorizer

    known = CountVectorizer(binary=True, token_pattern=r"(?u)\w+|[^\w\s]")
    known.fit([text for text, is_train in zip(texts, is_train_T, strict=True) if is_train])
    words_TV = known.transform(texts).tocsr()
    train_TV, train_labels_T = words_TV[is_train_T], labels_T[is_train_T]

    def fit(train_T: Bool[np.ndarray, " T"], penalty: float) -> Float[np.ndarray, " T"]:
        return _fitted(train_TV[train_T], train_labels_T[train_T], penalty).decision_function(train_TV)

    penalty = _cross_validated(fit, train_labels_T, groups_T[is_train_T])
    return _fitted(train_TV, train_labels_T, penalty).decision_function(words_TV)


def right_answers(scores_T: Float[np.ndarray, " T"], labels_T: Bool[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """1 where the score is on the right side of 0, 0 where it is not, and a half where it is exactly 0."""
    return np.where(scores_T == 0, 0.5, (scores_T > 0) == labels_T)


def best_threshold(scores_T: Float[np.ndarray, " T"], labels_T: Bool[np.ndarray, " T"]) -> float | None:
    """The score above which recall less false alarm (Youden's J) is largest, half-way to the next score above it.

    With as many true texts as false ones, that is the threshold with most right answers. Ties go to the highest; None
    where no threshold does better than calling nothing true, or a label is missing.
    """
    steps, step_T = np.unique(scores_T, return_inverse=True)
    if len(steps) < 2 or labels_T.all() or not labels_T.any():
        return None
    missed_S, spared_S = (
        np.bincount(step_T[of_T], minlength=len(steps)).cumsum()[:-1] for of_T in (labels_T, ~labels_T)
    )
    gain_S = spared_S * labels_T.sum() - missed_S * (~labels_T).sum()
    best = len(gain_S) - 1 - int(gain_S[::-1].argmax())
    return float((steps[best] + steps[best + 1]) / 2) if gain_S[best] > 0 else None


def f1_score(said_T: Bool[np.ndarray, " T"], labels_T: Bool[np.ndarray, " T"]) -> float:
    """2·right / (said + true) of what is called true; 0 when nothing is said and nothing true."""
    return 2 * float((said_T & labels_T).sum()) / max(float(said_T.sum() + labels_T.sum()), 1.0)


def f1(
    said_T: Bool[np.ndarray, " T"], labels_T: Bool[np.ndarray, " T"], groups_T: Int[np.ndarray, " T"], *, seed: int
) -> Interval:
    """`f1_score` with an interval from resampling groups."""
    sums_GM = by_document(groups_T, np.stack([said_T & labels_T, said_T, labels_T], axis=1).astype(np.float64))
    return bootstrap(sums_GM, lambda t: 2 * t[..., 0] / np.maximum(t[..., 1] + t[..., 2], 1), seed=seed)


def mean_over_groups(values_T: Float[np.ndarray, " T"], groups_T: Int[np.ndarray, " T"], *, seed: int) -> Interval:
    """The mean over texts, with an interval from resampling groups."""
    sums_GM = by_document(groups_T, np.stack([values_T, np.ones(len(values_T))], axis=1))
    return bootstrap(sums_GM, lambda t: t[..., 0] / t[..., 1], seed=seed)


def auroc(
    scores_T: Float[np.ndarray, " T"],
    labels_T: Bool[np.ndarray, " T"],
    groups_T: Int[np.ndarray, " T"],
    *,
    seed: int,
    n_resamples: int = 1000,
) -> Interval:
    """P(score of a true text > score of a false one), ties counting half, with an interval from resampling groups."""
    _, groups_T = np.unique(groups_T, return_inverse=True)
    n = int(groups_T.max()) + 1
    value = float(weighted_auroc(scores_T, labels_T, np.ones((1, len(scores_T))))[0])
    if n < 2:
        return Interval(value=value, low=-np.inf, high=np.inf, n=n)
    counts_RG = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples)
    figures_R = weighted_auroc(scores_T, labels_T, counts_RG[:, groups_T].astype(np.float64))
    low, high = np.nanquantile(figures_R, [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high), n=n)


def weighted_auroc(
    scores_T: Float[np.ndarray, " T"], labels_T: Bool[np.ndarray, " T"], weights_RT: Float[np.ndarray, "R T"]
) -> Float[np.ndarray, " R"]:
    """AUROC under each row of weights; NaN where one label has no weight."""
    order = np.argsort(scores_T, kind="stable")
    begins = np.flatnonzero(np.diff(scores_T[order], prepend=np.nan) != 0)
    weights_RT, labels_T = weights_RT[:, order], labels_T[order]
    true_RU = np.add.reduceat(weights_RT * labels_T, begins, axis=1)
    false_RU = np.add.reduceat(weights_RT * ~labels_T, begins, axis=1)
    below_RU = false_RU.cumsum(1) - false_RU / 2
    pairs_R = true_RU.sum(1) * false_RU.sum(1)
    with np.errstate(invalid="ignore"):
        return (true_RU * below_RU).sum(1) / pairs_R


def column_probe(
    x_TD: Float[np.ndarray, "T D"],
    labels_T: Bool[np.ndarray, " T"],
    columns: Int[np.ndarray, " C"],
    *,
    penalty: float,
) -> Probe:
    """Logistic regression on the given columns, standardised; a column that never changes gets weight 0."""
    chosen_TC = x_TD[:, columns].astype(np.float64)
    centre_C, spread_C = chosen_TC.mean(0), chosen_TC.std(0)
    spread_C[spread_C < 1e-12] = np.inf
    fitted = _fitted((chosen_TC - centre_C) / spread_C, labels_T, penalty)
    weights_C = fitted.coef_[0] / spread_C
    return Probe(columns=columns, weights=weights_C, bias=float(fitted.intercept_[0] - centre_C @ weights_C))


def _fitted(x: Any, labels_T: Bool[np.ndarray, " T"], penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that stops at MAX_STEPS is still a probe
        return LogisticRegression(C=penalty, max_iter=MAX_STEPS).fit(x, labels_T)


def _cross_validated(
    scores_after: Callable[[Bool[np.ndarray, " T"], float], Float[np.ndarray, " T"]],
    labels_T: Bool[np.ndarray, " T"],
    groups_T: Int[np.ndarray, " T"],
) -> float:
    """The penalty with the most right answers on left-out groups; the strongest of equals."""
    _, groups_T = np.unique(groups_T, return_inverse=True)
    n_groups = int(groups_T.max()) + 1
    fold_G = np.random.default_rng(0).permutation(n_groups) % min(FOLDS, n_groups)
    right = dict.fromkeys(PENALTIES, 0)
    for fold in range(int(fold_G.max()) + 1):
        train_T = fold_G[groups_T] != fold
        if len(np.unique(labels_T[train_T])) < 2:
            continue
        for penalty in PENALTIES:
            scores_T = scores_after(train_T, penalty)
            right[penalty] += int(((scores_T > 0) == labels_T)[~train_T].sum())
    return max(PENALTIES, key=lambda penalty: right[penalty])
