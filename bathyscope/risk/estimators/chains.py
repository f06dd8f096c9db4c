"""What several chains that should be alike tell about how sure their common estimate is."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

N_RESAMPLES = 50
"""Of the chains, for the interval."""
APART = 1.2
"""R-hat of the hits beyond which chains disagree."""


def chain_draws(n_chains: int) -> Int[NDArray[np.int64], "R C"]:
    """How often each chain is taken when as many are drawn with replacement; 50 draws, the same ones always."""
    return np.random.default_rng(0).multinomial(n_chains, np.full(n_chains, 1 / n_chains), size=N_RESAMPLES)


def spread_interval(estimates: Sequence[float], p: float, *, n: int, level: float) -> float:
    """Half of the interval around `p`, in natural logarithms: Student's, from estimates of `n` chains drawn again."""
    from scipy.stats import t

    spread = float(np.std(estimates, ddof=1)) * math.sqrt(n / (n - 1))
    return float(t.ppf((1 + level) / 2, n - 1)) * spread / p


def r_hat(x_TC: Bool[Tensor, "T C"] | Float[Tensor, "T C"]) -> float:
    """How much chains differ in their means, beside how each varies; 1 when they agree (Gelman and Rubin 1992).

    Infinity when they differ and none varies.
    """
    x_TC, n = x_TC.double(), len(x_TC)
    within = float(x_TC.var(0).mean()) if n > 1 else 0.0
    between = float(x_TC.mean(0).var())
    if within == 0:
        return 1.0 if between == 0 else math.inf
    return math.sqrt((n - 1) / n + between / within)
