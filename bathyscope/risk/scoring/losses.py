"""Losses of estimates against truths: all of probabilities, float64, one number per problem."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.errors import ConfigError


def itakura_saito(
    p_T: Float[NDArray[np.float64], " T"], q_T: Float[NDArray[np.float64], " T"]
) -> Float[NDArray[np.float64], " T"]:
    """IS(p, q) = p / q - ln(p / q) - 1 of truths p and estimates q: 0 when they agree, infinite for q = 0.

    The loss of Wu and Hilton (arXiv 2410.13211): the best constant is the mean truth. Raises ConfigError for a truth
    that is not above 0.
    """
    if not bool((p_T > 0).all()):
        raise ConfigError("the Itakura–Saito loss needs truths above 0")
    with np.errstate(divide="ignore"):
        ratio_T = p_T / q_T
    losses_T = np.full(len(p_T), np.inf)
    known_T = np.isfinite(ratio_T)
    losses_T[known_T] = ratio_T[known_T] - np.log(ratio_T[known_T]) - 1
    return losses_T


def log10_error(
    p_T: Float[NDArray[np.float64], " T"], q_T: Float[NDArray[np.float64], " T"]
) -> Float[NDArray[np.float64], " T"]:
    """log10(q / p): decades by which an estimate is too high; minus infinity for 0."""
    with np.errstate(divide="ignore"):
        return np.log10(q_T) - np.log10(p_T)
