"""`mbar`: samples of several tilted laws, pooled into weights for one of them.

Source: Shirts and Chodera (2008, Statistically optimal analysis of samples from multiple equilibrium states,
equations 11 and 13). Everything in logarithms, float64.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from bathyscope.errors import ConfigError

MOST_ROUNDS = 10_000
ROUNDING = 1e-13
TOLERANCE = 1e-10
"""Largest change of a normaliser's logarithm in the last round, relative to the largest logarithm above 1."""


class Pooled(NamedTuple):
    """What the samples say of the states together."""

    log_z_K: Float[NDArray[np.float64], " K"]
    """Natural logarithm of each state's normaliser over state 0's."""
    log_weight_N: Float[NDArray[np.float64], " N"]
    """Natural logarithm of each sample's share in a mean over state 0; the shares sum to 1."""


def mbar(energy_KN: Float[NDArray[np.float64], "K N"], n_K: Int[NDArray[np.int64], " K"]) -> Pooled:
    """Normalisers of K states with densities ∝ exp(-u_k(x)), and weights of all N samples for state 0.

    `-log z_k = f_k = -log Σ_n exp(-u_k(x_n)) / Σ_j n_j exp(f_j - u_j(x_n))`, f_0 = 0

    `energy_KN` holds u_k(x_n) of every sample under every state, +inf where a state cannot reach it; `n_K` says how
    many of the samples came from each state (which ones does not matter; 0 is allowed). Raises ConfigError for NaN,
    for counts that do not sum to N, and for a sample or state that nothing connects to the others.
    """
    if len(n_K) != len(energy_KN) or int(n_K.sum()) != energy_KN.shape[1] or bool((n_K < 0).any()):
        raise ConfigError(f"{energy_KN.shape} energies and {n_K.tolist()} samples per state do not fit each other")
    sampled = n_K > 0
    if np.isnan(energy_KN).any() or np.isposinf(energy_KN[sampled]).all(axis=0).any():
        raise ConfigError("a sample has energy NaN, or no sampled state can reach it")
    if np.isposinf(energy_KN).all(axis=1).any():
        raise ConfigError("a state can reach none of the samples; put a state between it and its neighbour")
    f_K = np.zeros(len(n_K))
    for _ in range(MOST_ROUNDS):
        log_mix_N = _log_mix(f_K, energy_KN, n_K)
        new_K = -_log_sum(-energy_KN - log_mix_N, axis=1)
        if np.abs(new_K - new_K[0] - f_K).max() < TOLERANCE * max(1.0, float(np.abs(f_K).max())):
            break
        further_K = _newton(f_K, log_mix_N, energy_KN, n_K)
        f_K = further_K if _is_better(further_K, new_K, energy_KN, n_K) else new_K
        f_K = f_K - f_K[0]
    log_weight_N = -energy_KN[0] - _log_mix(f_K, energy_KN, n_K)
    return Pooled(-f_K, log_weight_N - _log_sum(log_weight_N, axis=0))


def _log_mix(f_K: NDArray[np.float64], energy_KN: NDArray[np.float64], n_K: NDArray[np.int64]) -> NDArray[np.float64]:
    """log Σ_j n_j exp(f_j - u_j(x_n)) of each sample."""
    sampled = n_K > 0
    return _log_sum((np.log(n_K[sampled]) + f_K[sampled])[:, None] - energy_KN[sampled], axis=0)


def _newton(
    f_K: NDArray[np.float64], log_mix_N: NDArray[np.float64], energy_KN: NDArray[np.float64], n_K: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Newton's step of the sampled states towards samples that they explain in the numbers in which they drew them."""
    sampled, further_K = n_K > 0, f_K.copy()
    part_SN = n_K[sampled, None] * np.exp(f_K[sampled, None] - energy_KN[sampled] - log_mix_N)
    explained_S = part_SN.sum(1)
    hessian_SS = np.diag(explained_S) - part_SN @ part_SN.T
    step_S = np.linalg.lstsq(hessian_SS[1:, 1:], (n_K[sampled] - explained_S)[1:], rcond=None)[0]
    further_K[np.flatnonzero(sampled)[1:]] += step_S
    further_K[~sampled] = -_log_sum(-energy_KN[~sampled] - _log_mix(further_K, energy_KN, n_K), axis=1)
    return further_K


def _is_better(
    one_K: NDArray[np.float64], other_K: NDArray[np.float64], energy_KN: NDArray[np.float64], n_K: NDArray[np.int64]
) -> bool:
    """Whether the convex function that both kinds of step lower is lower here, but for rounding.

    Σ_n log Σ_j n_j exp(f_j - u_j(x_n)) - Σ_j n_j f_j
    """
    ends = [float(_log_mix(f_K, energy_KN, n_K).sum() - n_K @ f_K) for f_K in (one_K, other_K)]
    return ends[0] <= ends[1] + ROUNDING * abs(ends[1])


def _log_sum(values: NDArray[np.float64], *, axis: int) -> NDArray[np.float64]:
    """Logarithm of the sum of exponentials along one axis; minus infinity for a sum of zeros."""
    top = values.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values - top).sum(axis=axis)) + top.squeeze(axis))
