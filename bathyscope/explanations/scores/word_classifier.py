"""Do an explanation's words predict where a feature fires? A window is scored by how many of them stand in it.

    AUC = P(words in a firing window > words in a silent one) + ½ P(equal)

The same rule for every way of explaining: each word counts once and all count alike. 0.5 is what words without any tie
to the feature reach. Firing windows are also taken by how strongly the feature fires (thirds of its range): words that
fit a feature only at its peak fail in the lower thirds.
"""

import numpy as np
from jaxtyping import Float, Int

LEVELS = ("all", "low", "middle", "high")
"""Which firing windows: all, or those whose peak lies in one third of (0, maximum]."""


def levels_of(peaks_W: Float[np.ndarray, " W"]) -> Int[np.ndarray, " W"]:
    """0 where a feature is silent, else 1 to 3 for the third of (0, maximum] that the window's peak lies in."""
    thirds = np.ceil(3 * peaks_W / max(float(peaks_W.max(initial=0)), 1e-30))
    return np.where(peaks_W > 0, np.clip(thirds, 1, 3), 0).astype(np.int64)


def histograms(
    counts_W: Int[np.ndarray, " W"],
    levels_W: Int[np.ndarray, " W"],
    documents_W: Int[np.ndarray, " W"],
    *,
    n_words: int,
) -> Float[np.ndarray, "G 4 V"]:
    """Windows of each document, level and number of words in them (0 … `n_words`)."""
    n_documents, n_values = int(documents_W.max(initial=-1)) + 1, n_words + 1
    cell = (documents_W * 4 + levels_W) * n_values + np.minimum(counts_W, n_words)
    return np.bincount(cell, minlength=n_documents * 4 * n_values).reshape(n_documents, 4, n_values).astype(np.float64)


def areas(totals: Float[np.ndarray, "*batch 4 V"]) -> Float[np.ndarray, "*batch 4"]:
    """AUC of `LEVELS` from windows by level (0 silent) and number of words; NaN where there is no such window."""
    silent = totals[..., :1, :]
    firing = np.concatenate([totals[..., 1:, :].sum(-2, keepdims=True), totals[..., 1:, :]], axis=-2)
    below = np.cumsum(silent, axis=-1) - silent / 2
    pairs = firing.sum(-1) * silent.sum(-1)
    won = (firing * below).sum(-1)
    return np.divide(won, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)
