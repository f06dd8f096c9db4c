"""Forecasts: a tail that is exactly exponential is recovered at 100 times as many queries, a mixture is not hidden."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.models.log_probs import log_probs
from bathyscope.risk.events.sequence import GreedySequence, SampledSequence
from bathyscope.risk.forecast import elicitation, forecast, psi
from bathyscope.risk.inputs.pool import prompt_pool
from bathyscope.risk.problem import Problem

M, N = 300, 30_000


def log_p_of(psi_M):
    return -np.exp(-psi_M)


def coverage(draw, truth):
    """Share of 90 % intervals that hold the truth, median error and mean width in ψ, over 100 sets of queries."""
    rng, covered, errors, widths = np.random.default_rng(0), [], [], []
    for seed in range(100):
        made = forecast(log_p_of(draw(rng)), n_queries=N, level=0.9, n_resamples=200, seed=seed)
        low, middle, high = psi(np.array([made.log_low, made.log_p, made.log_high]))
        covered.append(low <= truth <= high)
        errors.append(middle - truth)
        widths.append(high - low)
    return np.mean(covered), np.median(errors), np.mean(widths)


def exponential(rng):
    return rng.exponential(1.0, M)


def mixture(rng):
    """One query in fifty has a tail that is three times as long."""
    return np.where(rng.random(M) < 0.02, rng.exponential(3.0, M), rng.exponential(1.0, M))


def test_an_exponential_tail_is_recovered_at_a_hundred_times_the_queries_and_a_mixture_widens_the_interval():
    covered, error, width = coverage(exponential, math.log(N))
    assert covered >= 0.85
    assert abs(error) < 1.0  # of ψ = 10.3, seen up to 5.7
    truth = brentq(lambda x: 0.02 * math.exp(-x / 3) + 0.98 * math.exp(-x) - 1 / N, 0, 60)
    covered, error, wider = coverage(mixture, truth)
    assert wider > width
    assert covered >= 0.7
    assert error < 0  # the line mostly follows the tail that most queries have


def test_a_forecast_for_as_many_queries_as_were_seen_is_near_the_largest_seen():
    made = forecast(log_p_of(np.random.default_rng(0).exponential(1.0, 2_000)), n_queries=2_000)
    assert abs(float(psi(np.array([made.log_p]))[0]) - math.log(2_000)) < 1.5
    assert made.interval[0] < made.p < made.interval[1]
    assert made.slope == pytest.approx(-1, abs=0.6)


def test_the_same_seed_gives_the_same_interval():
    log_p_M = log_p_of(np.random.default_rng(0).exponential(1.0, M))
    assert forecast(log_p_M, n_queries=N) == forecast(log_p_M, n_queries=N)
    assert forecast(log_p_M, n_queries=N).log_high != forecast(log_p_M, n_queries=N, seed=1).log_high


def test_each_prompt_of_a_pool_is_read_once_for_its_elicitation_probability():
    model = tiny_model()
    pool = prompt_pool(model, ["a", "bc", "a"], chat=False)
    log_p_M = elicitation(Problem(model=model, inputs=pool, event=SampledSequence((7, 8))))
    expected = [float(steps[-2:].sum()) for steps in log_probs(model, [[*row, 7, 8] for row in pool.prompts])]
    assert log_p_M.tolist() == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ConfigError, match="needs a pool"):
        elicitation(Problem(model=model, inputs=pool, event=GreedySequence((7,))))


def test_what_cannot_be_forecast_is_refused():
    with pytest.raises(ConfigError, match="twice as many queries"):
        forecast(np.full(5, -1.0), n_queries=100)
    with pytest.raises(ConfigError, match="are equal"):
        forecast(np.full(50, -1.0), n_queries=100)
    with pytest.raises(ConfigError, match="finite"):
        forecast(np.array([-math.inf, *np.linspace(-3, -1, 30)]), n_queries=100)
