"""`mbar`: samples of several tilted laws, pooled into weights for one of them.

Source: Shirts and Chodera (2008, Statistically optimal analysis of samples from multiple equilibrium states,
equations 11 and 13). State k has the density exp(f_k - u_k(x)). Everything in logarithms, float64.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from bathyscope.errors import ConfigError

MOST_STEPS = 200
CLOSE = 1e-7
"""Share of all samples within which each state's expected number must meet its own."""
CLOSEST = 1e-10
"""The same where there is one search and not hundreds."""
ROUNDING = 1e-13
"""Relative difference of two values of the function that says nothing of which is lower."""


class Pool(NamedTuple):
    """Samples of all states, without the state that each came from."""

    energy_UK: Float[NDArray[np.float64], "U K"]
    """u_k of every distinct sample under every state; +inf where a state cannot reach it."""
    count_U: Float[NDArray[np.float64], " U"]
    """How many samples are each of these; need not be whole."""
    n_K: Float[NDArray[np.float64], " K"]
    """How many samples each state gave, more than 0; they sum to those of `count_U`."""


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
    pool = Pool(energy_KN[sampled].T, np.ones(energy_KN.shape[1]), n_K[sampled].astype(np.float64))
    start_S = _reweighted(energy_KN[sampled], log_mix(pool.energy_UK, pool.n_K, np.zeros(int(sampled.sum()))))
    f_S = free_energies(pool, start_K=start_S, within=CLOSEST)
    log_mix_N = log_mix(pool.energy_UK, pool.n_K, f_S)
    f_K = _reweighted(energy_KN, log_mix_N)
    return Pooled(f_K[0] - f_K, f_K[0] - energy_KN[0] - log_mix_N)


def free_energies(
    pool: Pool, *, start_K: Float[NDArray[np.float64], " K"], within: float = CLOSE
) -> Float[NDArray[np.float64], " K"]:
    """f_k = -log z_k with f_0 = 0: where Σ_x n_k e^(f_k - u_k(x)) / Σ_j n_j e^(f_j - u_j(x)) = n_k for every state.

    The gradient of a convex function: Newton's steps, and where one does not lower it a step of the fixed point, which
    always does. Ends after 200 steps, or when each state's number is met to `within`, a share of all samples.
    """
    here = _place(pool, start_K - start_K[0])
    for _ in range(MOST_STEPS):
        if here.off <= within * pool.n_K.sum():
            break
        there = _place(pool, here.f_K - _newton_step(pool, here))
        here = there if _is_lower(there, here) else _place(pool, _fixed_point_step(pool, here))
    return here.f_K


def log_mix(
    energy_XK: Float[NDArray[np.float64], "*X K"],
    n_K: Float[NDArray[np.float64], " K"],
    f_K: Float[NDArray[np.float64], " K"],
) -> Float[NDArray[np.float64], "*X"]:
    """log Σ_k n_k e^(f_k - u_k(x)): one such sample adds e^(-u(x)) over e^this to a mean over a state of energy u."""
    return np.asarray(np.logaddexp.reduce(np.log(n_K) + f_K - energy_XK, axis=-1))


class _Place(NamedTuple):
    """Free energies and what the samples make of them."""

    f_K: Float[NDArray[np.float64], " K"]
    value: float
    """Σ_x log Σ_k n_k e^(f_k - u_k) - Σ_k n_k f_k."""
    share_UK: Float[NDArray[np.float64], "U K"]
    """Each state's share of every sample."""
    expected_K: Float[NDArray[np.float64], " K"]
    """How many samples each state would have given."""
    off: float
    """The largest difference from how many it gave."""


def _place(pool: Pool, f_K: NDArray[np.float64]) -> _Place:
    log_UK = np.log(pool.n_K) + f_K - pool.energy_UK
    top_U1 = log_UK.max(1, keepdims=True)
    share_UK = np.exp(log_UK - top_U1)
    total_U1 = share_UK.sum(1, keepdims=True)
    value = float(pool.count_U @ (top_U1 + np.log(total_U1))[:, 0] - pool.n_K @ f_K)
    share_UK = share_UK / total_U1
    expected_K = pool.count_U @ share_UK
    return _Place(f_K, value, share_UK, expected_K, float(np.abs(expected_K - pool.n_K).max()))


def _is_lower(there: _Place, here: _Place) -> bool:
    """Whether the function is lower there; where rounding hides it, whether the numbers are closer."""
    if abs(there.value - here.value) <= ROUNDING * abs(here.value):
        return there.off < here.off
    return there.value < here.value


def _newton_step(pool: Pool, here: _Place) -> NDArray[np.float64]:
    """Gradient over curvature; the first f stays. No number is NaN, however flat the function."""
    curvature_KK = np.diag(here.expected_K) - here.share_UK.T @ (here.share_UK * pool.count_U[:, None])
    step_K = np.linalg.lstsq(curvature_KK[1:, 1:], (here.expected_K - pool.n_K)[1:], rcond=None)[0]
    return np.concatenate(([0.0], step_K))


def _fixed_point_step(pool: Pool, here: _Place) -> NDArray[np.float64]:
    """Where each state's sum over the samples would put it; a state that has none of them is moved far."""
    f_K = here.f_K - np.log(np.maximum(here.expected_K, 1e-300) / pool.n_K)
    return f_K - f_K[0]


def _reweighted(energy_KN: NDArray[np.float64], log_mix_N: NDArray[np.float64]) -> Float[NDArray[np.float64], " K"]:
    """-log Σ_n exp(-u_k(x_n)) / mix(x_n) of states that need not have given a sample."""
    return -np.logaddexp.reduce(-energy_KN - log_mix_N, axis=1)
