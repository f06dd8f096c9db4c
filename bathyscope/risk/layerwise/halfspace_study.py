"""How the error of P(W x > 0) falls with the number K of coefficients that are kept, beside sampling and a null.

Sixteen half-spaces in four dimensions: for 98.24 % of random W no x is in all of them (Wendel 1962). The mean square
error is therefore taken over two kinds of W, generic ones and size-biased ones, which are never empty. Both together
have the density (1 + 2^rows p)/2 against generic W, so that 2/(1 + 2^rows p) weighs them back, with p exact.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from bathyscope import progress
from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.scores import Score, score
from bathyscope.risk.layerwise.halfspaces import cascade, exact_probability, generic, mean_square, size_biased
from bathyscope.risk.layerwise.harmonics import Harmonics, n_harmonics

HALFSPACES = "half-spaces"
LOWEST, ANY = "lowest degrees", "any degrees"
ERROR, SAMPLES, SLOPE = "mean square error", "equals samples", "slope"
RESAMPLES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfspaceCase:
    """Settings of the study."""

    n_rows: int = 16
    """Half-spaces."""
    n_matrices: int = 120
    """Matrices W of each kind."""
    degrees: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    """Largest degrees of the harmonics that are kept; K = 1, 5, 14, 30, 55, 91, 140, 204, 285, 385, 506."""
    slope_from: int = 4
    """Degree from which on the slope is fitted."""


def study_halfspaces(case: HalfspaceCase, *, seed: int) -> list[Score]:
    """Rows for each K: mean square error and the samples that have the same, with the slope over K, for both choices.

    The null keeps as many coefficients, the constant among them, but drawn from all degrees.
    """
    rng = np.random.default_rng(seed)
    harmonics = Harmonics(max(case.degrees))
    sizes = [n_harmonics(degree) for degree in case.degrees]
    kept_VK = np.concatenate([_lowest(sizes, harmonics), _any(sizes, harmonics, rng)])
    weighted_2NV = np.empty((2, case.n_matrices, len(kept_VK)))
    for kind, draw in enumerate((generic, size_biased)):
        for number in range(case.n_matrices):
            W_J4 = draw(case.n_rows, rng)
            true = exact_probability(W_J4)
            off_V = cascade(harmonics, W_J4, kept_VK) - true
            weighted_2NV[kind, number] = off_V**2 * 2 / (1 + 2.0**case.n_rows * true)
            progress.report("half-spaces", kind * case.n_matrices + number + 1, 2 * case.n_matrices, "matrices")
    errors_RV = _resampled(weighted_2NV, rng)
    rows: list[Score] = []
    for choice, name in enumerate((LOWEST, ANY)):
        of_choice = slice(choice * len(sizes), (choice + 1) * len(sizes))
        rows += _rows(case, name, sizes, weighted_2NV.mean((0, 1))[of_choice], errors_RV[:, of_choice])
    return rows


def _lowest(sizes: list[int], harmonics: Harmonics) -> Bool[np.ndarray, "V K"]:
    return np.arange(len(harmonics.indices_K3)) < np.array(sizes)[:, None]


def _any(sizes: list[int], harmonics: Harmonics, rng: np.random.Generator) -> Bool[np.ndarray, "V K"]:
    """As many of all, the constant among them."""
    order_K = 1 + rng.permutation(len(harmonics.indices_K3) - 1)
    kept_VK = np.zeros((len(sizes), len(order_K) + 1), dtype=bool)
    for kept_K, size in zip(kept_VK, sizes, strict=True):
        kept_K[[0, *order_K[: size - 1]]] = True
    return kept_VK


def _resampled(weighted_2NV: Float[np.ndarray, "2 N V"], rng: np.random.Generator) -> Float[np.ndarray, "R V"]:
    """Mean square errors with matrices drawn anew, each kind on its own."""
    n = weighted_2NV.shape[1]
    chosen_R2N = rng.integers(n, size=(RESAMPLES, 2, n))
    return np.stack([(weighted_2NV[0, one].mean(0) + weighted_2NV[1, two].mean(0)) / 2 for one, two in chosen_R2N])


def _rows(
    case: HalfspaceCase,
    name: str,
    sizes: list[int],
    error_V: Float[np.ndarray, " V"],
    errors_RV: Float[np.ndarray, "R V"],
) -> list[Score]:
    """Score rows of one choice; the interval is over matrices."""
    p = 2.0**-case.n_rows
    of_one_sample = p - mean_square(case.n_rows)  # E p (1 - p)
    fitted = [number for number, degree in enumerate(case.degrees) if degree >= case.slope_from]
    found: list[Score] = []
    for number, size in enumerate(sizes):
        for metric, values in ((ERROR, errors_RV[:, number]), (SAMPLES, of_one_sample / errors_RV[:, number])):
            value = float(error_V[number]) if metric == ERROR else of_one_sample / float(error_V[number])
            found.append(_row(f"{name}, K = {size}", metric, value, values, 2 * case.n_matrices))
    if name == LOWEST and len(fitted) > 1:
        span = f"{SLOPE} over K from {sizes[fitted[0]]} to {sizes[fitted[-1]]}"
        fitted_sizes = [sizes[number] for number in fitted]
        (value,), resampled_R = (_slopes(fitted_sizes, each[:, fitted]) for each in (error_V[None], errors_RV))
        found.append(_row(name, span, float(value), resampled_R, 2 * case.n_matrices))
    return found


def _slopes(sizes: list[int], errors_RV: Float[np.ndarray, "R V"]) -> Float[np.ndarray, " R"]:
    """Slopes of the log error over log K, by least squares."""
    log_K = np.log(sizes)
    centred = log_K - log_K.mean()
    return np.log(errors_RV) @ centred / (centred @ centred)


def _row(subject: str, metric: str, value: float, resampled_R: Float[np.ndarray, " R"], n: int) -> Score:
    low, high = (float(each) for each in np.quantile(resampled_R, (0.025, 0.975)))
    interval = Interval(value=value, low=low, high=high, n=n)
    return score(subject, metric, interval, unit="matrices", split=HALFSPACES)
