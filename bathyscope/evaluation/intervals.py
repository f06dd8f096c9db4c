"""Intervals for figures measured on documents: tokens of one document are not independent, documents are.

Knows sums per document and ratios of them; knows nothing of what the sums mean.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    """The figure on the whole sample."""
    low: float
    """2.5 % point of the bootstrap over documents."""
    high: float
    """97.5 % point of the bootstrap over documents."""
    n: int
    """Number of documents (the independent units)."""


def bootstrap(
    sums_GM: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    seed: int,
    n_resamples: int = 1000,
) -> Interval:
    """`statistic` of the column totals of `sums_GM`, with a percentile interval from resampling its rows.

    G documents × M sums per document. `statistic` maps totals [..., M] to figures [...], vectorised over leading
    axes, for example `lambda t: t[..., 0] / t[..., 1]`. With fewer than two documents the interval is (-inf, inf):
    one document says nothing about the spread between documents.
    """
    n_documents = len(sums_GM)
    value = float(statistic(sums_GM.sum(0)))
    if n_documents < 2:
        return Interval(value=value, low=-np.inf, high=np.inf, n=n_documents)
    figures_R = statistic(resampled(n_documents, n_resamples, seed) @ sums_GM)
    low, high = np.quantile(figures_R, [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high), n=n_documents)


@functools.lru_cache(maxsize=4)
def resampled(n_documents: int, n_resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each document is drawn in each resample [R, G]: the same for every figure of a report."""
    generator = np.random.default_rng(seed)
    counts_RG = generator.multinomial(n_documents, np.full(n_documents, 1 / n_documents), size=n_resamples)
    counts_RG = counts_RG.astype(np.float64)
    counts_RG.setflags(write=False)
    return counts_RG


def by_document(documents_N: NDArray[np.integer], sums_NM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the rows of `sums_NM` that share a document number: [G, M], in order of the document number."""
    _, groups_N = np.unique(documents_N, return_inverse=True)
    totals_GM = np.zeros((int(groups_N.max(initial=-1)) + 1, sums_NM.shape[1]))
    np.add.at(totals_GM, groups_N, sums_NM)
    return totals_GM


def over_runs(values: Sequence[float]) -> Interval:
    """The mean of independent runs with Student's 95 % interval for it; (-inf, inf) for a single run."""
    from scipy.stats import t

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Interval(value=mean, low=-np.inf, high=np.inf, n=n)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Interval(value=mean, low=mean - half, high=mean + half, n=n)
