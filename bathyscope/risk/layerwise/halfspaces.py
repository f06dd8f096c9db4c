"""P(W x > 0 in every row) for x ~ N(0, I) in four dimensions: row by row with K numbers, exactly, and over all W.

Each row cuts the sphere in half. What is left of the uniform law is kept as K coefficients of harmonics; the next row
multiplies it by an indicator, and all other coefficients are dropped. Nothing is sampled.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.harmonics import Harmonics

DIRECTIONS = 20_000
"""Directions over which an exact probability is averaged."""
ANGLES = 4_000
"""Steps of the integral for E p²."""


def cascade(
    harmonics: Harmonics, W_J4: Float[np.ndarray, "J 4"], kept_VK: Bool[np.ndarray, "V K"]
) -> Float[np.ndarray, " V"]:
    """Estimates of P(W x > 0), one for each choice of coefficients that are kept; the first, the mass, always is.

    c ← Π_K R P R c   for each row: R turns the row to the pole, P multiplies by the pole's half-space
    """
    if not kept_VK[:, 0].all():
        raise ConfigError("a choice of harmonics leaves out the constant, whose coefficient is the probability")
    turns = harmonics.reflections(W_J4)
    c_KV = np.zeros(kept_VK.T.shape)
    c_KV[0] = 1
    for row in range(len(W_J4)):
        c_KV = _turned(harmonics, turns, row, c_KV)
        c_KV = _turned(harmonics, turns, row, harmonics.pole_KK @ c_KV) * kept_VK.T
    return c_KV[0]


def _turned(
    harmonics: Harmonics, turns: list[Float[np.ndarray, "J _ _"]], row: int, c_KV: Float[np.ndarray, "K V"]
) -> Float[np.ndarray, "K V"]:
    parts = [turn[row].T @ c_KV[harmonics.of_degree(n)] for n, turn in enumerate(turns)]
    return np.concatenate(parts)


def inner_point(W_J4: Float[np.ndarray, "J 4"]) -> Float[np.ndarray, " 4"] | None:
    """A unit vector with W x > 0, as far inside as possible, or None where there is none (Lawson & Hanson 1974).

    The residual of min ‖E u - f‖, u ≥ 0, E = [Wᵀ; 1ᵀ], f = (0, …, 0, 1), is zero exactly when W x ≥ 1 cannot be met.
    """
    from scipy.optimize import nnls

    unit_J4 = W_J4 / np.linalg.norm(W_J4, axis=1, keepdims=True)
    E_5J = np.vstack([unit_J4.T, np.ones(len(W_J4))])
    f_5 = np.array([0.0, 0, 0, 0, 1])
    u_J, norm = nnls(E_5J, f_5)
    if norm < 1e-7:
        return None
    x_4 = (E_5J @ u_J - f_5)[:4]
    x_4 /= np.linalg.norm(x_4)
    return x_4 if (unit_J4 @ x_4 > 0).all() else None


def exact_probability(W_J4: Float[np.ndarray, "J 4"]) -> float:
    """P(W x > 0) to about a thousandth of itself: 0 for an empty cell, else a mean over directions from a point inside.

    A great circle from that point leaves the convex cell once, at the angle χ*; within χ of a point lies the share
    (χ - sin χ cos χ)/π of the sphere.
    """
    x_4 = inner_point(W_J4)
    if x_4 is None:
        return 0.0
    v_4 = x_4 - np.eye(4)[0]
    v_4 /= max(np.linalg.norm(v_4), np.finfo(float).tiny)
    reflection_44 = np.eye(4) - 2 * np.outer(v_4, v_4)
    across_JN = W_J4 @ reflection_44[:, 1:] @ spread(DIRECTIONS).T
    chi_N = np.arctan2((W_J4 @ x_4)[:, None], -across_JN).min(0)
    return float(np.mean(chi_N - np.sin(chi_N) * np.cos(chi_N)) / math.pi)


def spread(n: int) -> Float[np.ndarray, "n 3"]:
    """`n` evenly spread directions in three dimensions (a Fibonacci spiral)."""
    number_N = np.arange(n) + 0.5
    z_N, angle_N = 1 - 2 * number_N / n, number_N * math.pi * (1 + math.sqrt(5))
    radius_N = np.sqrt(1 - z_N**2)
    return np.stack([radius_N * np.cos(angle_N), radius_N * np.sin(angle_N), z_N], axis=1)


def generic(n_rows: int, rng: np.random.Generator) -> Float[np.ndarray, "J 4"]:
    """Rows from N(0, I)."""
    return rng.standard_normal((n_rows, 4))


def size_biased(n_rows: int, rng: np.random.Generator) -> Float[np.ndarray, "J 4"]:
    """Rows from N(0, I), turned towards a random point: the law of generic W times p(W) · 2^rows, so never empty."""
    W_J4, x_4 = generic(n_rows, rng), rng.standard_normal(4)
    return W_J4 * np.sign(W_J4 @ x_4)[:, None]


def mean_square(n_rows: int) -> float:
    """E p(W)² over generic W: ∫ (½ - θ/2π)^rows (2/π) sin² θ dθ over the angle θ of two random points."""
    theta = (np.arange(ANGLES) + 0.5) * math.pi / ANGLES
    return float(np.mean((0.5 - theta / (2 * math.pi)) ** n_rows * 2 * np.sin(theta) ** 2))


def share_not_empty(n_rows: int) -> float:
    """P(p(W) > 0) over generic W: 2 Σ_(k<4) C(rows - 1, k) of 2^rows sign patterns occur (Wendel 1962; Cover 1965)."""
    return 2 * sum(math.comb(n_rows - 1, k) for k in range(4)) / 2**n_rows
