"""Intervals for rare things, and what tells a sum of weights that can be trusted from one that cannot.

Everything in logarithms, float64: probabilities here may be below the smallest float.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

TIED = 1e-6
"""Weights within this share of the largest one are alike."""


class Weighed(NamedTuple):
    """A mean of weights with its interval and its signs of trouble."""

    log_mean: float
    """Natural logarithm of the mean; minus infinity when all weights are 0."""
    log_low: float
    """Lower end; minus infinity when all weights are 0."""
    log_high: float
    """Upper end; plus infinity when all weights are 0."""
    ess: float
    """(Σw)² / Σw²; 0 when all weights are 0."""
    max_share: float
    """Largest weight over their sum; 0 when all weights are 0."""
    pareto_k: float | None
    """Shape of the tail of the non-zero weights; None for fewer than 25."""


def clopper_pearson(n_hits: int, n: int, *, level: float) -> tuple[float, float]:
    """Exact interval of a share; with no hits (or nothing else) all of `1 - level` goes to the one open end."""
    from scipy.stats import beta

    if n < 1:
        return 0.0, 1.0
    tail = (1 - level) / 2 if 0 < n_hits < n else 1 - level
    low = 0.0 if n_hits == 0 else float(beta.ppf(tail, n_hits, n - n_hits + 1))
    high = 1.0 if n_hits == n else float(beta.ppf(1 - tail, n_hits + 1, n - n_hits))
    return low, high


def weighed(log_w_M: Float[NDArray[np.float64], " M"], n: int, *, level: float) -> Weighed:
    """The mean over `n` rows of weights of which these M are not 0.

    Interval: normal in the logarithm, with Student's quantile at the effective number of weights (delta method).
    """
    from scipy.stats import t

    if not len(log_w_M):
        return Weighed(-math.inf, -math.inf, math.inf, 0.0, 0.0, None)
    top = float(log_w_M.max())
    w_M = np.exp(log_w_M - top)
    total, squares = float(w_M.sum()), float((w_M**2).sum())
    ess = total**2 / squares
    relative = math.sqrt(max(squares / total**2 - 1 / n, 0.0) * n / max(n - 1, 1))
    half = float(t.ppf((1 + level) / 2, max(ess - 1, 1.0))) * relative
    log_mean = top + math.log(total / n)
    return Weighed(log_mean, log_mean - half, log_mean + half, ess, float(w_M.max() / total), pareto_k(log_w_M))


def log_mean_interval(log_p_R: Float[NDArray[np.float64], " R"], *, level: float) -> tuple[float, float]:
    """Interval of the mean's logarithm from independent runs; fewer than two that reached the event: (-inf, 0).

    Their logarithms are closer to normal than they are: Cox's half width, t √(s²/R + s⁴/(2(R - 1))), around the log of
    their mean. The lower end counts the runs that found nothing as 0; the upper end does as if they had not been made.
    """
    from scipy.stats import t

    reached = log_p_R[np.isfinite(log_p_R)]
    n = len(reached)
    if n < 2:
        return -math.inf, 0.0
    variance = float(reached.var(ddof=1))
    half = float(t.ppf((1 + level) / 2, n - 1)) * math.sqrt(variance / n + variance**2 / (2 * (n - 1)))
    centre = float(np.logaddexp.reduce(reached)) - math.log(n)
    return centre - half + math.log(n / len(log_p_R)), centre + half


def pareto_k(log_w_M: Float[NDArray[np.float64], " M"]) -> float | None:
    """Shape of a generalised Pareto law fitted to the largest weights (min(M / 5, 3 √M) of them; at least 5).

    Zhang and Stephens' estimate, with the prior towards .5 of Vehtari et al. (2024, Pareto smoothed importance
    sampling, appendix C). None for fewer than 25 weights.
    """
    n = len(log_w_M)
    if n < 25:
        return None
    n_tail = math.ceil(min(n / 5, 3 * math.sqrt(n)))
    ordered = np.sort(log_w_M - log_w_M.max())
    excess = np.exp(ordered[-n_tail:]) - np.exp(ordered[-n_tail - 1])
    if np.median(excess) <= TIED * np.exp(ordered[-1]):
        return 0.0  # weights that are alike have no tail
    return _shape(np.maximum(excess, 1e-300))


def _shape(x: NDArray[np.float64]) -> float:
    """Zhang and Stephens (2009): a grid of `theta` weighed by its profile likelihood; x ascends."""
    n = len(x)
    n_grid = 30 + int(math.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    theta = 1 / x[-1] + (1 - np.sqrt(n_grid / (np.arange(1, n_grid + 1) - 0.5))) / (3 * quartile)
    k_G = np.log1p(-theta[:, None] * x).mean(1)
    log_likelihood_G = n * (np.log(-theta / k_G) - k_G - 1)
    share_G = np.exp(log_likelihood_G - log_likelihood_G.max())
    mean_theta = float((theta * share_G).sum() / share_G.sum())
    k = float(np.log1p(-mean_theta * x).mean())
    return (n * k + 10 * 0.5) / (n + 10)
