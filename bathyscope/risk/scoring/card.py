"""`Card`: one method's report on problems whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.errors import ConfigError
from bathyscope.features.wilson import wilson
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.scoring.fit import leave_one_out
from bathyscope.risk.scoring.losses import itakura_saito, log10_error

ROUNDING = 1e-9
"""Relative tolerance of an interval's ends: exact sums in another order differ by rounding."""
N_RESAMPLES = 2000


class Share(NamedTuple):
    """A share with Wilson's 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """How one method did."""

    method: str
    """Name."""
    n: int
    """Problems."""
    is_loss: float
    """Mean Itakura–Saito loss of the estimates as they are; infinite with a single zero."""
    is_fitted: float
    """The same after the fit, leave one out."""
    is_fitted_low: float
    """2.5 % point of the bootstrap over problems."""
    is_fitted_high: float
    """97.5 % point."""
    rms_log10: float
    """Root mean square of log10(estimate / truth); estimates of 0 stand as their interval's upper end."""
    worst_log10: float
    """The largest of these errors."""
    zeros: Share
    """Estimates of 0."""
    coverage: Share
    """Intervals that hold the truth."""
    coverage_unflagged: Share
    """The same of the estimates without a flag."""
    width_log10: float
    """Median width of the intervals, decades; infinite where most lower ends are 0."""
    spent: float
    """Mean cost, in forwards."""
    seconds: float
    """Mean time of one estimate."""


def card(truths: Sequence[float], estimates: Sequence[Estimate], *, seed: int = 0) -> Card:
    """The report on one method's estimates, one for each truth. Raises ConfigError when they do not match."""
    if len(truths) != len(estimates) or len(truths) < 4:
        raise ConfigError(f"{len(truths)} truths and {len(estimates)} estimates; expected as many, at least 4")
    p_T = np.array(truths, dtype=np.float64)
    q_T = np.array([estimate.p for estimate in estimates])
    ends_T2 = np.array([estimate.interval for estimate in estimates])
    fitted_T = leave_one_out(p_T, q_T)
    error_T = log10_error(p_T, np.where(q_T > 0, q_T, ends_T2[:, 1]))
    covered_T = (ends_T2[:, 0] <= p_T * (1 + ROUNDING)) & (p_T * (1 - ROUNDING) <= ends_T2[:, 1])
    unflagged_T = np.array([not estimate.flags for estimate in estimates])
    with np.errstate(divide="ignore"):
        widths_T = np.log10(ends_T2[:, 1]) - np.log10(ends_T2[:, 0])
    low, high = _resampled_mean(fitted_T, seed)
    return Card(
        method=estimates[0].method,
        n=len(p_T),
        is_loss=float(itakura_saito(p_T, q_T).mean()),
        is_fitted=float(fitted_T.mean()),
        is_fitted_low=low,
        is_fitted_high=high,
        rms_log10=float(np.sqrt((error_T**2).mean())),
        worst_log10=float(error_T[np.abs(error_T).argmax()]),
        zeros=share(q_T == 0),
        coverage=share(covered_T),
        coverage_unflagged=share(covered_T[unflagged_T]),
        width_log10=float(np.median(widths_T)),
        spent=float(np.mean([estimate.cost["spent"] for estimate in estimates])),
        seconds=float(np.mean([estimate.cost["seconds"] for estimate in estimates])),
    )


def share(is_so_T: NDArray[np.bool_]) -> Share:
    """A share with Wilson's interval; of nothing it is unknown."""
    n = len(is_so_T)
    if n == 0:
        return Share(float("nan"), 0.0, 1.0, 0)
    value = float(is_so_T.mean())
    low, high = wilson(value, n)
    return Share(value, float(low), float(high), n)


def _resampled_mean(losses_T: Float[NDArray[np.float64], " T"], seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    chosen_RT = generator.integers(len(losses_T), size=(N_RESAMPLES, len(losses_T)))
    low, high = np.quantile(losses_T[chosen_RT].mean(1), [0.025, 0.975])
    return float(low), float(high)
