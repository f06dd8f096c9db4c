"""Do the windows in which a feature fires resemble each other? Means of static token vectors, no explanation at all.

    v(window) = unit vector of Σ_t  a / (a + p(t)) · (E[t] − mean E)      a = 10⁻³   (weights of Arora et al. 2017)
    query     = unit vector of the mean of v over the feature's top explaining windows
    Δ         = mean cosine of the query with firing scoring windows − with silent ones

How far a feature can be told by topic at all: an explanation in words can hardly do better where Δ is 0.
"""

import numpy as np
from jaxtyping import Float, Int

from bathyscope.models.model import Model
from bathyscope.models.unembed import unembedding

RARE = 1e-3
"""Share of tokens at which a token's weight is one half."""


class TokenVectors:
    """Weighted static vectors of tokens: the unembedding's rows, centred, rare tokens weighing more."""

    def __init__(self, model: Model, tokens: Int[np.ndarray, " T"]) -> None:
        """`tokens` is the text that frequencies are taken from."""
        E_VD = unembedding(model).detach().float().cpu().numpy()
        share_V = np.bincount(tokens, minlength=len(E_VD))[: len(E_VD)] / max(len(tokens), 1)
        self._weighted_VD = (E_VD - E_VD.mean(0)) * (RARE / (RARE + share_V))[:, None].astype(np.float32)

    def windows(
        self, tokens: Int[np.ndarray, " T"], starts: Int[np.ndarray, " W"], stops: Int[np.ndarray, " W"]
    ) -> Float[np.ndarray, "W D"]:
        """Unit vectors of windows of a text."""
        sums = [self._weighted_VD[tokens[a:b]].sum(0) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        return unit(np.stack(sums)) if sums else np.zeros((0, self._weighted_VD.shape[1]), np.float32)


def unit(x_WD: Float[np.ndarray, "*batch D"]) -> Float[np.ndarray, "*batch D"]:
    """Vectors of length 1; zeros stay."""
    return x_WD / np.maximum(np.linalg.norm(x_WD, axis=-1, keepdims=True), 1e-12)


def similarity_sums(
    query_D: Float[np.ndarray, " D"],
    windows_WD: Float[np.ndarray, "W D"],
    fires_W: np.ndarray,
    documents_W: Int[np.ndarray, " W"],
) -> Float[np.ndarray, "G 4"]:
    """Per document: Σ cosine and number of firing windows, the same of silent ones."""
    cosine_W = (windows_WD @ query_D).astype(np.float64)
    n = int(documents_W.max(initial=-1)) + 1
    columns = [
        np.bincount(documents_W[chosen], weights, minlength=n)
        for chosen in (fires_W, ~fires_W)
        for weights in (cosine_W[chosen], np.ones(int(chosen.sum())))
    ]
    return np.stack(columns, axis=1)


def difference(totals: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch"]:
    """Δ from sums over documents; NaN where no window fires or none is silent."""
    means = np.divide(
        totals[..., 0::2], totals[..., 1::2], out=np.full_like(totals[..., 0::2], np.nan), where=totals[..., 1::2] > 0
    )
    return np.asarray(means[..., 0] - means[..., 1])
