"""Peaks over a threshold: the likeliest law is scipy's, the interval is the profile's, ends are bounds."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import genpareto

from bathyscope.errors import ConfigError
from bathyscope.risk.estimators.peaks import PeaksOverThreshold, fitted_tail
from bathyscope.risk.look import Seen


def excesses(shape: float, n: int, seed: int = 0) -> np.ndarray:
    return genpareto.rvs(shape, scale=1.5, size=n, random_state=np.random.default_rng(seed))


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_the_fit_is_the_likeliest_generalised_pareto_law(shape):
    y_M = excesses(shape, 800)
    reach = 2.0 * y_M.max() if shape >= 0 else 0.99 * y_M.max()
    found = fitted_tail(y_M, reach, level=0.9)
    shape_hat, _, scale_hat = genpareto.fit(y_M, floc=0)
    assert found.shape == pytest.approx(shape_hat, abs=0.01)
    assert found.log_q == pytest.approx(genpareto.logsf(reach, shape_hat, scale=scale_hat), abs=0.05)


@pytest.mark.parametrize("shape", [-0.2, 0.2])
def test_the_profile_interval_holds_the_truth_as_often_as_it_says(shape):
    reach = genpareto.isf(1e-4, shape, scale=1.5)
    truth = math.log(1e-4)
    found = [fitted_tail(excesses(shape, 300, seed), reach, level=0.9) for seed in range(30)]
    inside = sum(tail.log_low <= truth <= tail.log_high for tail in found)
    assert 22 <= inside <= 30
    assert all(tail.log_low <= tail.log_q <= tail.log_high for tail in found)


def test_a_law_that_ends_before_the_event_gives_0_and_an_upper_bound():
    score_N = torch.from_numpy(-10.0 + np.random.default_rng(0).uniform(size=2000))
    found = PeaksOverThreshold(share=0.1).of_scores(
        Seen(score_N, torch.zeros(2000).double()), is_smooth=False, level=0.95, seed=0
    )
    assert found.log_p == found.log_low == -math.inf
    assert found.log_high == pytest.approx(math.log(1 - 0.05 ** (1 / 2000)))
    assert found.flags == ("model_bias", "no_hits")


def test_exponential_scores_are_extrapolated_three_decades():
    score_N = torch.from_numpy(np.random.default_rng(0).exponential(size=20_000) - math.log(1e7))
    found = PeaksOverThreshold(share=0.05).of_scores(
        Seen(score_N, (score_N >= 0).double()), is_smooth=False, level=0.9, seed=0
    )
    assert found.n_hits == 0
    assert found.log_low < math.log(1e-7) < found.log_high
    assert found.log_p == pytest.approx(math.log(1e-7), abs=3.5)


def test_an_event_above_the_threshold_is_simply_counted():
    score_N = torch.linspace(-1, 1, 1000).double()
    found = PeaksOverThreshold().of_scores(Seen(score_N, (score_N >= 0).double()), is_smooth=False, level=0.9, seed=0)
    assert found.log_p == pytest.approx(math.log(0.5), abs=1e-2)
    assert found.n_hits == 500


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_share_that_is_no_tail_is_refused(share):
    with pytest.raises(ConfigError, match="share is"):
        PeaksOverThreshold(share=share)
