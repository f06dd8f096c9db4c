"""Single-token purity: the share of a feature's activation that lies on one token, chosen on the explaining half.

1 is a feature that restates a token; an explanation of such a feature is right and says little.
"""

import numpy as np
from jaxtyping import Float, Int


def purity_sums(
    tokens_E: Int[np.ndarray, " E"],
    values_E: Float[np.ndarray, " E"],
    documents_E: Int[np.ndarray, " E"],
    token: int,
    *,
    n_documents: int,
) -> Float[np.ndarray, "G 2"]:
    """Per document: a feature's activation on `token`, and all of it."""
    own = np.where(tokens_E == token, values_E, 0.0)
    return np.stack(
        [np.bincount(documents_E, weights, minlength=n_documents).astype(np.float64) for weights in (own, values_E)],
        axis=1,
    )


def share(totals: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
    """Purity from sums over documents; NaN where the feature is silent."""
    return np.divide(totals[..., 0], totals[..., 1], out=np.full_like(totals[..., 0], np.nan), where=totals[..., 1] > 0)
