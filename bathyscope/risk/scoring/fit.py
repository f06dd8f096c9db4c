"""A method's estimates, recalibrated by q ↦ a q^c + b so that only what they tell apart counts.

a, b > 0 and c within [.05, 2] minimise the mean Itakura–Saito loss; each problem is judged by the fit to all others
(leave one out), and b never falls below a tenth of the smallest truth, so that no zero can cost everything.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.errors import ConfigError
from bathyscope.risk.scoring.losses import itakura_saito

POWERS = (0.05, 2.0)
STARTS = (0.3, 1.0)
FLOOR = 0.1
"""Least b, in smallest truths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """q ↦ a q^c + b."""

    log_a: float
    """Natural logarithm of a."""
    c: float
    """Power."""
    log_b: float
    """Natural logarithm of b."""

    def __call__(self, q_T: Float[NDArray[np.float64], " T"]) -> Float[NDArray[np.float64], " T"]:
        """The recalibrated estimates; those of 0 become b."""
        with np.errstate(divide="ignore"):
            return np.exp(self.log_a + self.c * np.log(q_T)) + np.exp(self.log_b)


def fit(
    p_T: Float[NDArray[np.float64], " T"], q_T: Float[NDArray[np.float64], " T"], *, near: Fit | None = None
) -> Fit:
    """The recalibration with the least mean loss, by Nelder and Mead's search from four starts, or from `near`."""
    from scipy.optimize import minimize

    if len(p_T) < 3:
        raise ConfigError(f"a fit of three numbers needs at least 3 problems, found {len(p_T)}")
    some = q_T[q_T > 0]
    if not len(some):
        return Fit(log_a=-700.0, c=1.0, log_b=float(np.log(p_T.mean())))
    centre = float(np.exp(np.log(some).mean()))
    lowest_b = float(np.log(FLOOR * p_T.min()))

    def made(x: NDArray[np.float64]) -> Fit:
        return Fit(log_a=float(x[0]), c=float(np.clip(x[1], *POWERS)), log_b=max(float(x[2]), lowest_b))

    def loss(x: NDArray[np.float64]) -> float:
        return float(itakura_saito(p_T, made(x)(q_T)).mean())

    starts = [
        (np.log(level) - c * np.log(centre), c, np.log(p_T.min()))
        for c in STARTS
        for level in (p_T.mean(), np.exp(np.log(p_T).mean()))
    ]
    if near is not None:
        starts = [(near.log_a, near.c, near.log_b)]
    found = [minimize(loss, start, method="Nelder-Mead", options={"maxiter": 600, "xatol": 1e-3}) for start in starts]
    return made(min(found, key=lambda result: float(result.fun)).x)


def leave_one_out(
    p_T: Float[NDArray[np.float64], " T"], q_T: Float[NDArray[np.float64], " T"]
) -> Float[NDArray[np.float64], " T"]:
    """The loss of each problem under the fit to all others."""
    everyone, losses = fit(p_T, q_T), np.zeros(len(p_T))
    for one in range(len(p_T)):
        others = fit(np.delete(p_T, one), np.delete(q_T, one), near=everyone)
        losses[one] = itakura_saito(p_T[[one]], others(q_T[[one]]))[0]
    return losses


def constant(p_T: Float[NDArray[np.float64], " T"]) -> Float[NDArray[np.float64], " T"]:
    """The loss of each problem when its estimate is the mean truth of all others: what knowing nothing costs."""
    others_T = (p_T.sum() - p_T) / (len(p_T) - 1)
    return itakura_saito(p_T, others_T)
