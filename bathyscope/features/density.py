"""How often features fire, with 95 % intervals that respect documents.

Tokens of one document are not independent: a feature for chess fires a hundred times in one text and never in the
next. The document is the unit of sampling here.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bathyscope.features.wilson import Z, wilson


class Density(NamedTuple):
    """Share of kept tokens on which each feature fires, and its interval."""

    share: Float[np.ndarray, " F"]
    low: Float[np.ndarray, " F"]
    high: Float[np.ndarray, " F"]


class FiringSums(NamedTuple):
    """Sums over documents d with n_d kept tokens, on y_d of which a feature fires: all that a density needs."""

    fires: Float[np.ndarray, " F"]
    """Σ y_d"""
    squares: Float[np.ndarray, " F"]
    """Σ y_d²"""
    products: Float[np.ndarray, " F"]
    """Σ y_d n_d"""


def density(sums: FiringSums, document_rows: Int[np.ndarray, " M"], *, cluster: float) -> Density:
    """Density p = Σy/Σn of each feature with a 95 % interval, never of zero width.

    var(p) = M/(M−1) · Σ (y_d − p n_d)² / (Σ n_d)²      (linearised ratio estimator, documents as clusters)
    n_eff  = min(Σ n_d, p(1−p)/var(p))                  (Kish: the number of independent tokens worth as much)
    Wilson's interval at (p, n_eff), with the Student quantile of (Σy)²/Σy² degrees of freedom (the effective number
    of documents that fire, at least 2): a feature seen in few documents gets a wider interval.

    Where var(p) is 0 or unknown (no firing at all, firing everywhere, a single document) n_eff = Σ n_d / `cluster`,
    `cluster` being the mean cluster size over all features, see `cluster_size`. In simulations with documents of
    log-normal length and strongly clustered firing the interval covers the truth in 92 to 99 % of the cases.
    """
    total, n_documents = float(document_rows.sum()), len(document_rows)
    p = sums.fires / total
    spread = sums.squares - 2 * p * sums.products + p * p * float(np.square(document_rows, dtype=np.float64).sum())
    var = np.maximum(spread, 0.0) * (n_documents / max(n_documents - 1, 1)) / total**2
    known = (var > 1e-12 * p * p) & (n_documents > 1)
    ratio = np.divide(p * (1 - p), var, out=np.full_like(p, total / cluster), where=known)
    n_eff = np.clip(ratio, 1.0, total)
    freedom = np.divide(sums.fires**2, sums.squares, out=np.full_like(p, 2.0), where=sums.squares > 0)
    z = np.where(known, student_quantile(np.maximum(freedom, 2.0)), Z)
    return Density(p, *wilson(p, n_eff, z))


def cluster_size(sums: FiringSums) -> float:
    """Σ y_d² / Σ y_d over all features: how many firings of its own document a firing sees on average, at least 1."""
    fires = float(sums.fires.sum())
    return max(1.0, float(sums.squares.sum()) / fires) if fires else 1.0


def student_quantile(freedom: Float[np.ndarray, " F"]) -> Float[np.ndarray, " F"]:
    """The 97.5 % quantile of Student's t (Cornish–Fisher expansion; 3 % low at 2 degrees of freedom, 0.1 % at 5)."""
    z = Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
