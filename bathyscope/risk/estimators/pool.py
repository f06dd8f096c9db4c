"""`free_energies`: how the samples of several temperatures fit together (MBAR, Shirts and Chodera 2008).

Rung k has the density p(x) exp(β_k s(x)) / Z_k with s ≤ 0 and β_0 = 0. Knows scores alone: rows of one score are one.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

MOST_STEPS = 200
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
    pool: Pool, beta_K: Float[NDArray[np.float64], " K"], *, start_K: Float[NDArray[np.float64], " K"]
) -> Float[NDArray[np.float64], " K"]:
    """f_k = -log Z_k with f_0 = 0: where Σ_x n_k e^(f_k + β_k s) / Σ_j n_j e^(f_j + β_j s) = n_k for every rung.

    The gradient of a convex function: Newton's steps, and where one does not lower it a step of the fixed point, which
    always does. Ends after 200 steps, or when each rung meets its number within a ten-millionth of all samples.
    """
    f_K = start_K - start_K[0]
    value, share_UK = _objective(pool, beta_K, f_K)
    for _ in range(MOST_STEPS):
        expected_K = pool.count_U @ share_UK
        if np.abs(expected_K - pool.n_K).max() <= CLOSE * pool.n_K.sum():
            break
        newton_K = f_K - _newton_step(pool, share_UK, expected_K)
        new_value, new_share_UK = _objective(pool, beta_K, newton_K)
        if new_value < value:
            f_K = newton_K
        else:
            fixed_K = f_K - np.log(np.maximum(expected_K, 1e-300) / pool.n_K)
            f_K = fixed_K - fixed_K[0]
            new_value, new_share_UK = _objective(pool, beta_K, f_K)
        value, share_UK = new_value, new_share_UK
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


def _newton_step(pool: Pool, share_UK: np.ndarray, expected_K: np.ndarray) -> np.ndarray:
    """Gradient over curvature; the first f stays. No number is NaN, however flat the function."""
    curvature_KK = np.diag(expected_K) - share_UK.T @ (share_UK * pool.count_U[:, None])
    step_K = np.linalg.lstsq(curvature_KK[1:, 1:], (expected_K - pool.n_K)[1:], rcond=None)[0]
    return np.concatenate(([0.0], step_K))
