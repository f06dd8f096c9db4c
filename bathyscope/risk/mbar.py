"""`free_energies`: how the samples of several temperatures fit together (MBAR, Shirts and Chodera 2008).

Rung k has the density p(x) exp(β_k s(x)) / Z_k with s ≤ 0 and β_0 = 0. Knows scores alone: rows of one score are one.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

MOST_STEPS = 50
CLOSE = 1e-7
"""Share of all samples within which each rung's expected number must meet its own."""


class Pool(NamedTuple):
    """Samples of all rungs, without the rung that each came from."""

    score_U: Float[NDArray[np.float64], " U"]
    """Distinct scores, at most 0."""
    count_U: Float[NDArray[np.float64], " U"]
    """How many samples have each; need not be whole."""
    n_K: Float[NDArray[np.float64], " K"]
    """How many samples each rung gave; they sum to those of `count_U`."""


def free_energies(
    pool: Pool, beta_K: Float[NDArray[np.float64], " K"], *, start_K: Float[NDArray[np.float64], " K"] | None = None
) -> Float[NDArray[np.float64], " K"]:
    """f_k = -log Z_k with f_0 = 0: where Σ_x n_k e^(f_k + β_k s) / Σ_j n_j e^(f_j + β_j s) = n_k for every rung.

    Newton's method on the convex function whose gradient this is, with halved steps until it falls.
    """
    f_K = np.zeros_like(beta_K) if start_K is None else start_K.copy()
    value, share_UK = _objective(pool, beta_K, f_K)
    for _ in range(MOST_STEPS):
        expected_K = pool.count_U @ share_UK
        off_K = expected_K - pool.n_K
        if np.abs(off_K).max() <= CLOSE * pool.n_K.sum():
            break
        curvature_KK = np.diag(expected_K) - share_UK.T @ (share_UK * pool.count_U[:, None])
        ridge = 1e-12 * np.trace(curvature_KK) * np.eye(len(f_K) - 1)
        step_K = np.concatenate(([0.0], np.linalg.solve(curvature_KK[1:, 1:] + ridge, off_K[1:])))
        fallen = _fallen(pool, beta_K, f_K, step_K, value)
        if fallen is None:  # as low as numbers go
            break
        value, f_K, share_UK = fallen
    return f_K


def log_weight(
    pool: Pool, beta_K: Float[NDArray[np.float64], " K"], f_K: Float[NDArray[np.float64], " K"], *, score: float
) -> float:
    """Logarithm of what one sample of this score adds to an estimate of a probability under p."""
    return -float(np.logaddexp.reduce(np.log(pool.n_K) + f_K + beta_K * score))


def _objective(pool: Pool, beta_K: np.ndarray, f_K: np.ndarray) -> tuple[float, np.ndarray]:
    """Σ_x log Σ_k n_k e^(f_k + β_k s) - Σ_k n_k f_k, and each rung's share of every score."""
    log_UK = np.log(pool.n_K) + f_K + pool.score_U[:, None] * beta_K
    top_U1 = log_UK.max(1, keepdims=True)
    share_UK = np.exp(log_UK - top_U1)
    total_U1 = share_UK.sum(1, keepdims=True)
    value = float(pool.count_U @ (top_U1 + np.log(total_U1))[:, 0] - pool.n_K @ f_K)
    return value, share_UK / total_U1


def _fallen(
    pool: Pool, beta_K: np.ndarray, f_K: np.ndarray, step_K: np.ndarray, value: float
) -> tuple[float, np.ndarray, np.ndarray] | None:
    """Where the step, its half, quarter … first lowers the objective; None when none does."""
    for halvings in range(20):
        next_K = f_K - step_K * 0.5**halvings
        next_value, share_UK = _objective(pool, beta_K, next_K)
        if next_value < value:
            return next_value, next_K, share_UK
    return None
