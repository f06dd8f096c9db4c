"""Rates from times of whole calls: the least squares of relative errors, with no rate above what memory can give."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np


def fitted_rates(
    amounts: Sequence[Mapping[str, int | float]], seconds: Sequence[float], *, fastest: Mapping[str, float]
) -> dict[str, float]:
    """Sort → amount a second, from calls that each did `amounts` of several sorts in `seconds`; at most `fastest`.

    t_i = Σ_sort amount_i,sort · cost_sort, cost_sort ≥ 1 / fastest_sort. Relative errors are weighed alike. Costs at
    their bound are tried in every combination, so the least error is found, not approached.
    """
    sorts = list(amounts[0])
    table = np.array([[each[sort] for sort in sorts] for each in amounts]) / np.asarray(seconds)[:, None]
    least = np.array([1 / fastest[sort] for sort in sorts])
    best_error, best = np.inf, least
    for size in range(len(sorts) + 1):
        for free in itertools.combinations(range(len(sorts)), size):
            cost = _least_squares(table, least, list(free))
            error = float(np.square(table @ cost - 1).sum())
            if (cost >= least).all() and error < best_error:
                best_error, best = error, cost
    return {sort: float(1 / cost) for sort, cost in zip(sorts, best, strict=True)}


def _least_squares(table: np.ndarray, least: np.ndarray, free: list[int]) -> np.ndarray:
    """Costs of one unit of each sort: the free ones fitted, the others at their bound."""
    cost = least.copy()
    if free:
        cost[free] = 0.0
        part = table[:, free]
        scale = np.abs(part).max(axis=0)
        found, *_ = np.linalg.lstsq(part / scale, 1 - table @ cost, rcond=None)
        cost[free] = found / scale
    return cost
