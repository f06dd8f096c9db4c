"""`forecast`: how likely the worst of many more queries elicits an output, from the largest values among a few.

`ψ_i = -log(-log p_i)`, `log S(ψ) = a ψ + b` over the largest, `ψ_n = (-log n - b) / a`, `p_n = exp(-exp(-ψ_n))`

p_i: probability that query i elicits the output; S: share of queries with a larger ψ. Jones et al. (2025, Forecasting
rare language model behaviors, arXiv 2502.16797). Rests on a tail of ψ that falls exponentially, no interval covers it.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.inputs.pool import Pool
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem

N_LARGEST = 10
HALF = 0.5
"""Taken off the ranks for the forecast itself: without it the slope is too flat (Gabaix and Ibragimov 2011)."""
CERTAIN = -1e-12
"""Largest log-probability that is told from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the largest elicitation probability among more queries will be."""

    n_seen: int
    """Queries whose probability is known."""
    n_queries: int
    """Queries that are asked about."""
    log_p: float
    """Natural logarithm of the probability that one in `n_queries` queries exceeds."""
    log_low: float
    """Lower end of its interval."""
    log_high: float
    """Upper end of its interval."""
    level: float
    """Nominal coverage of the interval."""
    slope: float
    """a: decay of log S per unit of ψ, below 0."""
    largest_seen: float
    """Natural logarithm of the largest probability among the queries seen."""

    @property
    def p(self) -> float:
        """The probability."""
        return math.exp(self.log_p)

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return math.exp(self.log_low), math.exp(self.log_high)


def forecast(
    log_p_M: Float[NDArray[np.float64], " M"],
    *,
    n_queries: int,
    n_largest: int = N_LARGEST,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Forecast:
    """The forecast for `n_queries` queries from the log-probabilities of M seen ones.

    The line goes through the `n_largest` largest ψ with S = (rank - 1/2) / M. Interval: queries are drawn again from
    those seen, a line with S = rank / M, which is flatter, is put through the largest, and the largest are drawn once
    more from that line: the queries alone would leave out how far few values scatter about a line. Raises ConfigError
    for fewer than twice `n_largest` queries, and when the largest values are all equal.
    """
    m = len(log_p_M)
    if n_largest < 3 or m < 2 * n_largest or n_queries < 1 or not 0 < level < 1:
        raise ConfigError(
            f"{m} queries, the {n_largest} largest of them, for {n_queries} queries at level {level}; expected at "
            "least 3 largest, twice as many queries, 1 query to forecast, and a level within (0, 1)"
        )
    if not np.isfinite(log_p_M).all() or float(log_p_M.max()) > 0:
        raise ConfigError("log-probabilities must be finite numbers, 0 at most; a query that cannot elicit is no query")
    psi_M = np.sort(psi(log_p_M))[::-1]
    if psi_M[0] == psi_M[n_largest - 1]:
        raise ConfigError(f"the {n_largest} largest probabilities are equal; their tail cannot be told")
    a, b = _line(psi_M[None, :n_largest], m, less=HALF)
    psi_R = _scattered(psi_M, n_largest, n_queries, n_resamples, np.random.default_rng(seed))
    ends = np.quantile(psi_R, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Forecast(
        n_seen=m,
        n_queries=n_queries,
        log_p=-math.exp(-float(_psi_at(a, b, n_queries)[0])),
        log_low=-math.exp(-float(ends[0])),
        log_high=-math.exp(-float(ends[1])),
        level=level,
        slope=float(a[0]),
        largest_seen=float(np.max(log_p_M)),
    )


def elicitation(problem: Problem, *, batch_size: int = 256) -> Float[NDArray[np.float64], " M"]:
    """For each prompt of a pool the natural logarithm of the probability that it elicits the output; one read each.

    Raises ConfigError for inputs that are no pool, and for an event without a probability (SampledSequence has one).
    """
    if not isinstance(problem.inputs, Pool) or not problem.event.is_smooth:
        raise ConfigError(f"{problem.name}: a forecast needs a pool of prompts and an output that is drawn from them")
    n = len(problem.inputs.prompts)
    look = Look(problem, Budget(forward=n), batch_size=batch_size)
    return look.at(torch.arange(n)[:, None]).score_N.numpy()


def psi(log_p: Float[NDArray[np.float64], " *M"]) -> Float[NDArray[np.float64], " *M"]:
    """`-log(-log p)`, which grows without bound at both ends."""
    return -np.log(-np.minimum(log_p, CERTAIN))


def _scattered(
    psi_M: NDArray[np.float64], n_largest: int, n_queries: int, n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The forecast's ψ in each resample: queries drawn again, then the largest drawn from the line through them.

    Values of an exponential tail above the one that survives with probability s lie apart by independent exponential
    spacings, the i-th largest by one of mean 1 / i (Rényi 1953); s itself follows a beta law.
    """
    m = len(psi_M)
    drawn_RN = -np.sort(-psi_M[rng.integers(0, m, size=(n_resamples, m))], axis=1)[:, :n_largest]
    a_R, b_R = _line(drawn_RN, m)
    log_s_R1 = np.log(rng.beta(n_largest + 1, m - n_largest, size=(n_resamples, 1)))
    spacing_RN = rng.exponential(size=(n_resamples, n_largest)) / np.arange(1, n_largest + 1)
    above_RN = np.cumsum(spacing_RN[:, ::-1], axis=1)[:, ::-1]
    is_line_R = a_R < 0  # not where the same query was drawn for all of the largest
    psi_R = np.full(n_resamples, np.inf)
    largest_RN = (log_s_R1 - b_R[:, None] - above_RN)[is_line_R] / a_R[is_line_R, None]
    psi_R[is_line_R] = _psi_at(*_line(largest_RN, m), n_queries)
    return psi_R


def _line(psi_RN: NDArray[np.float64], m: int, *, less: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and intercept of log((rank - less) / m) on ψ, for each row of values in falling order."""
    log_s_N = np.log((np.arange(1, psi_RN.shape[1] + 1) - less) / m)
    centred_RN = psi_RN - psi_RN.mean(1, keepdims=True)
    a_R = (centred_RN * log_s_N).sum(1) / np.maximum((centred_RN**2).sum(1), 1e-300)
    return a_R, log_s_N.mean() - a_R * psi_RN.mean(1)


def _psi_at(a_R: NDArray[np.float64], b_R: NDArray[np.float64], n_queries: int) -> NDArray[np.float64]:
    """ψ that one in `n_queries` queries exceeds."""
    return (-math.log(n_queries) - b_R) / a_R
