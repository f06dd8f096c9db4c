"""`PeaksOverThreshold`: a generalised Pareto law fitted to the largest scores alone.

    p = ζ · (1 + ξ·y₀/σ)^(-1/ξ)   (Pickands 1975; Coles 2001, ch. 4)

ζ is the share of scores above the threshold u, y₀ = -u the excess at which the event begins. With θ = ξ/σ the largest
likelihood over σ at a given θ has ξ = mean log(1 + θy) (Grimshaw 1993), and the likelihood at a given probability
q = (1 + θy₀)^(-1/ξ) has ξ = -log(1 + θy₀) / log q: one table over q and θ gives the profile likelihood of q.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.naive import share_of_hits
from bathyscope.risk.estimators.one_pass import ScorePass
from bathyscope.risk.look import Look, Seen
from bathyscope.risk.tails import clopper_pearson

Array = NDArray[np.float64]

LEAST_PEAKS = 20
"""Fewer excesses say nothing about their law."""
LEAST_SHAPE, MOST_SHAPE = -1.0, 3.0
"""Below -1 the likelihood grows without bound; above 3 no score has a mean, nor half a mean."""
LEAST_LOG_Q, N_Q = -50.0, 501
"""The profile's grid: logarithms of q down to e^-50, in steps of .1."""
N_SLOPES = 100
"""Values of θ towards each end and on each side of 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeaksOverThreshold:
    """The fitted tail at 0, with the profile-likelihood interval. Always flagged `model_bias`.

    A fitted law that ends below 0 gives the estimate 0; the upper end is then the profile's or, where that is lower,
    the one that the hits alone allow.
    """

    share: float = 0.02
    """Share of the scores above the threshold."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise ConfigError(f"share is {self.share}, expected above 0 and at most 0.5: the tail alone is fitted")

    @property
    def name(self) -> str:
        """`peaks over threshold`."""
        return "peaks over threshold"

    @property
    def needs(self) -> frozenset[Need]:
        """A score that decides."""
        return frozenset({"score"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a budget that leaves fewer than 20 scores above the threshold."""
        least = math.ceil(LEAST_PEAKS / self.share)
        if look.room() < least:
            raise ConfigError(
                f"{self.name} needs {least} forwards for {LEAST_PEAKS} peaks, found {look.room()}; raise the budget"
            )
        return ScorePass(self, look, generator)

    def of_scores(self, seen: Seen, *, is_smooth: bool, level: float, seed: int) -> Figures:
        """The fitted tail at 0. Draws nothing.

        Where too few scores exceed the threshold, or the threshold is inside the event, the share of hits is returned.
        """
        score_N = np.sort(seen.score_N.numpy())
        n, n_hits = len(score_N), int((score_N >= 0).sum())
        place = n - 1 - int(self.share * n)
        threshold = float(score_N[place]) if n else 0.0
        excess_M = score_N[place:] - threshold if n else score_N
        excess_M = excess_M[excess_M > 0]
        if len(excess_M) < LEAST_PEAKS or not -math.inf < threshold < 0 or excess_M[0] == excess_M[-1]:
            return share_of_hits(n_hits, n, level=level, flags=("model_bias",))
        tail = fitted_tail(excess_M, -threshold, level=level)
        log_share, high = math.log(len(excess_M) / n), tail.log_high
        flags: tuple[Flag, ...] = ("model_bias",)
        if tail.log_q == -math.inf:  # that a fitted law ends is no evidence that the event cannot be
            flags = ("model_bias", "no_hits")
            high = max(high, math.log(clopper_pearson(n_hits, n, level=level)[1]) - log_share)
        return Figures(
            log_p=log_share + tail.log_q,
            log_low=log_share + tail.log_low,
            log_high=log_share + high,
            n_hits=n_hits,
            flags=flags,
        )


class Tail(NamedTuple):
    """The probability that an excess reaches the event."""

    log_q: float
    """Its likeliest value, natural logarithm; minus infinity where the fitted law ends before the event."""
    log_low: float
    """Lower end of the profile-likelihood interval."""
    log_high: float
    """Upper end."""
    shape: float
    """ξ of the likeliest law."""


def fitted_tail(y_M: Float[Array, " M"], reach: float, *, level: float) -> Tail:
    """A generalised Pareto law fitted to positive excesses, at the excess `reach`; -1 ≤ ξ ≤ 3."""
    from scipy.stats import chi2

    theta_T = _slopes(float(y_M.max()), float(y_M.mean()), reach)
    total_T = np.log1p(theta_T[:, None] * y_M).sum(1)
    free_T = _log_likelihood(theta_T, total_T / len(y_M), total_T, len(y_M))
    theta, shape, most = _best(theta_T, free_T, y_M)
    allowed = most - float(chi2.ppf(level, 1)) / 2
    log_q_Q, profile_Q = _profile(theta_T, total_T, len(y_M), reach)
    inside_Q = log_q_Q[profile_Q >= allowed]
    log_q = -math.inf if theta * reach <= -1 else -math.log1p(theta * reach) / shape
    might_end = bool((free_T[theta_T * reach <= -1] >= allowed).any())
    low = float(inside_Q[0]) if len(inside_Q) and not might_end else -math.inf
    high = float(inside_Q[-1]) if len(inside_Q) else -math.inf
    return Tail(log_q, min(low, log_q), max(high, log_q), shape)


def _slopes(largest: float, mean: float, reach: float) -> Float[Array, " T"]:
    """θ from just above -1 / largest excess to far into heavy tails, dense towards both ends and around 0."""
    near_T = np.geomspace(1e-6, 1, N_SLOPES)[:-1]
    ends = (-1 / largest, -1 / reach) if reach > largest else (-1 / largest,)
    lower = [sign_T * end for end in ends for sign_T in (near_T, 1 - near_T)]
    return np.unique(np.concatenate([*lower, np.geomspace(1e-6, 1e3, 2 * N_SLOPES) / mean]))


def _best(theta_T: Array, likelihood_T: Array, y_M: Array) -> tuple[float, float, float]:
    """θ, ξ and log-likelihood of the likeliest law, sought again between the grid's best values."""
    best = int(likelihood_T.argmax())
    finer_T = np.linspace(theta_T[max(best - 1, 0)], theta_T[min(best + 1, len(theta_T) - 1)], 101)
    finer_T = finer_T[finer_T != 0]
    total_T = np.log1p(finer_T[:, None] * y_M).sum(1)
    finer = _log_likelihood(finer_T, total_T / len(y_M), total_T, len(y_M))
    place = int(finer.argmax())
    return float(finer_T[place]), float(total_T[place]) / len(y_M), float(finer[place])


def _log_likelihood(theta: Array, shape: Array, total: Array, n: int) -> Array:
    """-n·log σ - (1 + 1/ξ) Σ log(1 + θy), with σ = ξ/θ; minus infinity for shapes that are not allowed."""
    allowed = (shape >= LEAST_SHAPE) & (shape <= MOST_SHAPE) & (shape / theta > 0)
    shape = np.where(allowed, shape, theta)
    return np.where(allowed, -n * np.log(shape / theta) - (1 + 1 / shape) * total, -np.inf)


def _profile(theta_T: Array, total_T: Array, n: int, reach: float) -> tuple[Float[Array, " Q"], Float[Array, " Q"]]:
    """log q from small to large, and the largest log-likelihood of a law that gives q to excesses above `reach`."""
    reaches_T = theta_T * reach > -1
    theta_T, total_T = theta_T[reaches_T], total_T[reaches_T]
    log_q_Q = np.linspace(LEAST_LOG_Q, -1e-3, N_Q)
    shape_QT = -np.log1p(theta_T * reach) / log_q_Q[:, None]
    return log_q_Q, _log_likelihood(theta_T, shape_QT, total_T, n).max(1)
