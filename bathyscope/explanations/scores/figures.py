"""From measured passages to figures: one number per scorer, condition and interval, with its interval of confidence.

A figure is the mean over features of the feature's own statistic; documents are resampled. Passages without an answer
take no part in a figure and are counted beside it.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from bathyscope.evaluation.intervals import Interval, resampled
from bathyscope.evaluation.scores import Score, score
from bathyscope.explanations.passages import FIRING, Group
from bathyscope.explanations.scores.measured import Measured, Statistic

N_RESAMPLES = 1000
Weights = Float[NDArray[np.float64], "R G"]
"""How often each document counts; the first row counts each once."""


class Answered(NamedTuple):
    """The answered entries of one feature, an entry per token for simulation."""

    documents: Int[NDArray[np.int64], " N"]
    """Number of each entry's document among all."""
    truth: Float[NDArray[np.float64], " N"]
    value: Float[NDArray[np.float64], " N"]


def figures(
    rows: Mapping[tuple[str, str], Sequence[Measured]], statistics: Mapping[str, Sequence[Statistic]], *, seed: int
) -> list[Score]:
    """Scores of `rows`, which are given by scorer and condition (`own`, `shuffled`, …).

    For each scorer: its statistics for each condition over all passages and for each interval of activation (the
    passages without firing stay), `own minus shuffled` where both are there, and the share without an answer. A figure
    that no feature has is left out.
    """
    found: list[Score] = []
    for (scorer, condition), measured in rows.items():
        found.append(_unanswered(scorer, condition, measured, seed=seed))
        for statistic, group in itertools.product(statistics[scorer], (None, *FIRING)):
            kept = [row for row in measured if group is None or row.group == group or row.group not in FIRING]
            if statistic == "accuracy" and group is not None:
                continue
            name = _metric(scorer, statistic, group)
            found.append(score(condition, name, figure([kept], statistic, seed=seed)))
    for scorer in dict.fromkeys(scorer for scorer, _ in rows):
        own, shuffled = rows.get((scorer, "own")), rows.get((scorer, "shuffled"))
        if own is not None and shuffled is not None:
            for statistic in statistics[scorer]:
                difference = figure([own, shuffled], statistic, seed=seed)
                found.append(score("own minus shuffled", _metric(scorer, statistic, None), difference))
    return [row for row in found if np.isfinite(row.value)]


def figure(parts: Sequence[Sequence[Measured]], statistic: Statistic, *, seed: int) -> Interval:
    """The mean over features of a statistic, of the first part (less that of the second, on the same resamples).

    NaN where no feature has passages enough.
    """
    _, numbers = np.unique([row.document for part in parts for row in part], return_inverse=True)
    n_documents = int(numbers.max(initial=-1)) + 1
    if n_documents == 0:
        return Interval(value=np.nan, low=-np.inf, high=np.inf, n=0)
    W_RG = np.concatenate([np.ones((1, n_documents)), resampled(n_documents, N_RESAMPLES, seed)])
    edges = np.cumsum([0, *(len(part) for part in parts)])
    means = [
        _mean(part, numbers[first:last], statistic, W_RG)
        for part, first, last in zip(parts, edges[:-1], edges[1:], strict=True)
    ]
    values_R = means[0] - means[1] if len(means) > 1 else means[0]
    drawn = values_R[1:][np.isfinite(values_R[1:])]
    if n_documents < 2 or len(drawn) < 2:
        return Interval(value=float(values_R[0]), low=-np.inf, high=np.inf, n=n_documents)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value=float(values_R[0]), low=float(low), high=float(high), n=n_documents)


def _mean(rows: Sequence[Measured], numbers: NDArray[np.int64], statistic: Statistic, W_RG: Weights) -> NDArray:
    """The mean over features that have the statistic, resample by resample."""
    by_feature: dict[int, list[tuple[int, float, float]]] = {}
    for row, number in zip(rows, numbers.tolist(), strict=True):
        if row.value is not None:
            entries = by_feature.setdefault(row.feature, [])
            entries.extend((number, truth, value) for truth, value in zip(row.truth, row.value, strict=True))
    totals_R, counts_R = np.zeros(len(W_RG)), np.zeros(len(W_RG))
    for entries in by_feature.values():
        columns = np.array(entries, dtype=np.float64)
        own = Answered(columns[:, 0].astype(np.int64), columns[:, 1], columns[:, 2])
        with np.errstate(invalid="ignore", divide="ignore"):
            value_R = STATISTICS[statistic](own, W_RG[:, own.documents])
        known_R = np.isfinite(value_R)
        totals_R += np.where(known_R, value_R, 0.0)
        counts_R += known_R
    return np.divide(totals_R, counts_R, out=np.full(len(W_RG), np.nan), where=counts_R > 0)


def _accuracy(own: Answered, W_RN: NDArray) -> NDArray:
    return (W_RN @ own.value) / W_RN.sum(1)


def _balanced(own: Answered, W_RN: NDArray) -> NDArray:
    """Mean of the shares that are called right among the firing and among the others."""
    is_true, says_yes = own.truth > 0.5, own.value > 0.5
    hits = (W_RN @ (is_true & says_yes)) / (W_RN @ is_true)
    rejections = (W_RN @ (~is_true & ~says_yes)) / (W_RN @ ~is_true)
    return (hits + rejections) / 2


def _correlation(own: Answered, W_RN: NDArray) -> NDArray:
    """Pearson's over all tokens; undefined (left out) where either side does not vary."""
    x, y, n = own.truth, own.value, W_RN.sum(1)
    mean_x, mean_y = (W_RN @ x) / n, (W_RN @ y) / n
    xy, xx, yy = (W_RN @ (x * y)) / n, (W_RN @ (x * x)) / n, (W_RN @ (y * y)) / n
    spread = np.clip(xx - mean_x**2, 0, None) * np.clip(yy - mean_y**2, 0, None)
    return np.where(spread > 1e-18, (xy - mean_x * mean_y) / np.sqrt(spread), np.nan)


def _auc(own: Answered, W_RN: NDArray) -> NDArray:
    """Probability that a firing passage ranks above another one, ties half."""
    is_true = own.truth > 0.5
    above = np.sign(own.value[is_true][:, None] - own.value[~is_true][None]) / 2 + 0.5
    firing, quiet = W_RN[:, is_true], W_RN[:, ~is_true]
    return ((firing @ above) * quiet).sum(1) / (firing.sum(1) * quiet.sum(1))


STATISTICS: Mapping[Statistic, Callable[[Answered, NDArray], NDArray]] = {
    "accuracy": _accuracy,
    "balanced accuracy": _balanced,
    "correlation": _correlation,
    "AUC": _auc,
}


def _unanswered(scorer: str, condition: str, rows: Sequence[Measured], *, seed: int) -> Score:
    share = [
        Measured(
            feature=0,
            document=row.document,
            token=row.token,
            group=row.group,
            truth=(1.0,),
            value=(float(row.value is None),),
        )
        for row in rows
    ]
    return score(condition, f"{scorer}: share without an answer", figure([share], "accuracy", seed=seed))


def _metric(scorer: str, statistic: Statistic, group: Group | None) -> str:
    return f"{scorer}: {statistic}" + (f" ({group})" if group else "")
