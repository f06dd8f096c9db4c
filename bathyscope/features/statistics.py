"""Figures of each feature over the indexed text: density, moments, quantiles, histogram.

All are exact: they are computed from the feature's firings, not from bins.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bathyscope.features.density import FiringSums
from bathyscope.features.postings import Block

N_BINS = 20
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Figures of a block of features; all of them 0 for a feature that never fires."""

    n_fires: Int[np.ndarray, " F"]
    maximum: Float[np.ndarray, " F"]
    mean: Float[np.ndarray, " F"]
    """Mean of the positive values."""
    std: Float[np.ndarray, " F"]
    """Their population standard deviation."""
    quantiles: Float[np.ndarray, "F 3"]
    """Their 0.5, 0.9 and 0.99 quantiles (linear interpolation)."""
    histogram: Int[np.ndarray, "F 20"]
    """Counts in 20 equal bins of (0, maximum], open on the left."""
    bins: Int[np.ndarray, " E"]
    """Bin of each firing."""
    by_value: Int[np.ndarray, " E"]
    """Order of the firings by feature, then falling value, then row."""


def statistics(block: Block) -> Statistics:
    """The figures of every feature of `block`."""
    n, values = block.counts, block.values.astype(np.float64)
    by_value = np.lexsort((-values, block.features))
    alive = n > 0
    maximum = np.zeros(len(n))
    maximum[alive] = values[by_value[block.starts[:-1][alive]]]
    mean = np.bincount(block.features, values, minlength=len(n)) / np.maximum(n, 1)
    squares = np.bincount(block.features, (values - mean[block.features]) ** 2, minlength=len(n))
    bins = np.ceil(values / maximum[block.features] * N_BINS).astype(np.int64) - 1
    bins = np.clip(bins, 0, N_BINS - 1)
    counts = np.bincount(block.features * N_BINS + bins, minlength=len(n) * N_BINS)
    return Statistics(
        n_fires=n,
        maximum=maximum,
        mean=mean,
        std=np.sqrt(squares / np.maximum(n, 1)),
        quantiles=np.stack([_quantile(values[by_value], block.starts, q) for q in QUANTILES], axis=1),
        histogram=counts.reshape(len(n), N_BINS),
        bins=bins,
        by_value=by_value,
    )


def firing_sums(block: Block, row_documents: Int[np.ndarray, " N"], document_rows: Int[np.ndarray, " M"]) -> FiringSums:
    """Sums over documents of each feature's firings, for its density."""
    key = np.sort(block.features * len(document_rows) + row_documents[block.rows])
    edges = np.flatnonzero(np.diff(key, prepend=-1))
    fires = np.diff(np.append(edges, len(key))).astype(np.float64)
    feature, document = key[edges] // len(document_rows), key[edges] % len(document_rows)
    return FiringSums(
        fires=block.counts.astype(np.float64),
        squares=np.bincount(feature, fires**2, minlength=block.n_features),
        products=np.bincount(feature, fires * document_rows[document], minlength=block.n_features),
    )


def _quantile(falling: Float[np.ndarray, " E"], starts: Int[np.ndarray, " F1"], q: float) -> Float[np.ndarray, " F"]:
    """Quantile `q` of each feature's values, which are sorted from large to small; 0 for a feature without any."""
    n = np.diff(starts)
    found = np.zeros(len(n))
    alive = n > 0
    last = starts[1:][alive] - 1
    position = (n[alive] - 1) * q
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, n[alive] - 1)
    low, high = falling[last - below], falling[last - above]
    found[alive] = low + (high - low) * (position - below)
    return found
