"""The chance that a concept is covered as a curve over its frequency, with intervals from resampling concepts.

P(covered) = 1 / (1 + exp(−slope · (x − midpoint)))        x = log10 frequency
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from bathyscope.evaluation.intervals import Interval

NEWTON_STEPS = 30
RIDGE = 1e-3
"""Keeps the slope finite where frequency separates covered from uncovered words without an error."""


class Fit(NamedTuple):
    """The curve of coverage over log10 frequency."""

    slope: Interval
    """Per factor of ten in frequency."""
    midpoint: Interval
    """log10 of the frequency at which the chance is one half."""


def fit_coverage(
    log_frequency_W: Float[np.ndarray, " W"], covered_W: Bool[np.ndarray, " W"], *, n_resamples: int, seed: int
) -> Fit | None:
    """The logistic curve with intervals from resampling words; None when all words or none are covered."""
    if covered_W.all() or not covered_W.any():
        return None
    generator = np.random.default_rng(seed)
    n = len(covered_W)
    weights_RW = np.concatenate(
        [np.ones((1, n)), generator.multinomial(n, np.full(n, 1 / n), size=n_resamples)]
    ).astype(np.float64)
    slope_R, midpoint_R = _logistic(log_frequency_W.astype(np.float64), covered_W.astype(np.float64), weights_RW)
    return Fit(_percentiles(slope_R, n), _percentiles(midpoint_R, n))


def _logistic(
    x_W: Float[np.ndarray, " W"], y_W: Float[np.ndarray, " W"], weights_RW: Float[np.ndarray, "R W"]
) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """Slope and midpoint under each row of weights, by Newton's method with a small ridge on the slope."""
    centre = x_W.mean()
    design_W2 = np.stack([np.ones_like(x_W), x_W - centre], axis=1)
    beta_R2 = np.zeros((len(weights_RW), 2))
    ridge_2 = np.array([RIDGE, RIDGE])
    for _ in range(NEWTON_STEPS):
        p_RW = 1 / (1 + np.exp(-np.clip(beta_R2 @ design_W2.T, -30, 30)))
        gradient_R2 = (weights_RW * (y_W - p_RW)) @ design_W2 - ridge_2 * beta_R2
        curvature_RW = weights_RW * p_RW * (1 - p_RW)
        hessian_R22 = np.einsum("rw,wi,wj->rij", curvature_RW, design_W2, design_W2) + np.diag(ridge_2)
        beta_R2 = beta_R2 + np.clip(np.linalg.solve(hessian_R22, gradient_R2[..., None])[..., 0], -4, 4)
    slope_R = beta_R2[:, 1]
    return slope_R, centre - beta_R2[:, 0] / np.where(slope_R == 0, np.nan, slope_R)


def _percentiles(values_R: Float[np.ndarray, " R"], n: int) -> Interval:
    """The first value, with the range of the others."""
    low, high = np.nanquantile(values_R[1:], [0.025, 0.975])
    return Interval(value=float(values_R[0]), low=float(low), high=float(high), n=n)
