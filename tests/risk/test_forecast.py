"""Forecasts: a tail that is exactly exponential is recovered at 100 times as many queries, a mixture is not hidden."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from bathyscope.errors import ConfigError
from bathyscope.risk.forecast import forecast, psi

M, N = 300, 30_000


def log_p_of(psi_M):
    return -np.exp(-psi_M)


def coverage(draw, truth):
    """Share of 90 % intervals that hold the truth, and median error in ψ, over 100 sets of queries."""
    rng, covered, errors = np.random.default_rng(0), [], []
    for seed in range(100):
        made = forecast(log_p_of(draw(rng)), n_queries=N, level=0.9, n_resamples=200, seed=seed)
        low, middle, high = psi(np.array([made.log_low, made.log_p, made.log_high]))
        covered.append(low <= truth <= high)
        errors.append(middle - truth)
    return np.mean(covered), np.median(errors)


def test_an_exponential_tail_is_recovered_at_a_hundred_times_the_queries():
    covered, error = coverage(lambda rng: rng.exponential(1.0, M), math.log(N))
    assert covered >= 0.85
    assert abs(error) < 1.0  # of ψ = 10.3, seen up to 5.7


def test_a_mixture_whose_rarer_part_has_the_longer_tail_is_still_covered_mostly():
    def draw(rng):
        return np.where(rng.random(M) < 0.02, rng.exponential(3.0, M), rng.exponential(1.0, M))

    truth = brentq(lambda x: 0.02 * math.exp(-x / 3) + 0.98 * math.exp(-x) - 1 / N, 0, 60)
    covered, error = coverage(draw, truth)
    assert covered >= 0.7
    assert error < 0  # the line sees the tail that most queries have: hence the caution in the docstring


def test_the_interval_widens_when_the_largest_queries_leave_the_line():
    plain_M = np.random.default_rng(1).exponential(1.0, M)
    mixed_M = plain_M + np.where(np.arange(M) % 100 == 0, 5.0, 0.0)
    ends = [forecast(log_p_of(each), n_queries=N) for each in (plain_M, mixed_M)]
    plain, mixed = (float(np.diff(psi(np.array([each.log_low, each.log_high])))[0]) for each in ends)
    assert mixed > plain


def test_a_forecast_for_as_many_queries_as_were_seen_is_near_the_largest_seen():
    made = forecast(log_p_of(np.random.default_rng(0).exponential(1.0, 2_000)), n_queries=2_000)
    assert abs(float(psi(np.array([made.log_p]))[0]) - math.log(2_000)) < 1.5
    assert made.interval[0] < made.p < made.interval[1]
    assert made.slope == pytest.approx(-1, abs=0.6)


def test_the_same_seed_gives_the_same_interval():
    log_p_M = log_p_of(np.random.default_rng(0).exponential(1.0, M))
    assert forecast(log_p_M, n_queries=N) == forecast(log_p_M, n_queries=N)
    assert forecast(log_p_M, n_queries=N).log_high != forecast(log_p_M, n_queries=N, seed=1).log_high


def test_what_cannot_be_forecast_is_refused():
    with pytest.raises(ConfigError, match="twice as many queries"):
        forecast(np.full(5, -1.0), n_queries=100)
    with pytest.raises(ConfigError, match="are equal"):
        forecast(np.full(50, -1.0), n_queries=100)
    with pytest.raises(ConfigError, match="finite"):
        forecast(np.array([-math.inf, *np.linspace(-3, -1, 30)]), n_queries=100)
