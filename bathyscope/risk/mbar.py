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
TOLERANCE = 1e-10
"""Largest change of a normaliser's logarithm in the last round."""


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
    log_n_S = np.log(n_K[sampled])
    f_K = np.zeros(len(n_K))
    for _ in range(MOST_ROUNDS):
        log_mix_N = _log_sum((log_n_S + f_K[sampled])[:, None] - energy_KN[sampled], axis=0)
        new_K = -_log_sum(-energy_KN - log_mix_N, axis=1)
        new_K -= new_K[0]
        change, f_K = float(np.abs(new_K - f_K).max()), new_K
        if change < TOLERANCE:
            break
    log_mix_N = _log_sum((log_n_S + f_K[sampled])[:, None] - energy_KN[sampled], axis=0)
    log_weight_N = -energy_KN[0] - log_mix_N
    return Pooled(-f_K, log_weight_N - _log_sum(log_weight_N, axis=0))


def _log_sum(values: NDArray[np.float64], *, axis: int) -> NDArray[np.float64]:
    """Logarithm of the sum of exponentials along one axis; minus infinity for a sum of zeros."""
    return np.asarray(np.logaddexp.reduce(values, axis=axis), dtype=np.float64)
