"""The law fitted to all margins: the closed form, its reach, what it says when there is nothing to fit."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import gumbel_r, norm

from bathyscope.risk.estimators.gaussian_margin import GaussianMargin
from bathyscope.risk.look import Seen


def seen(score_N: np.ndarray) -> Seen:
    score = torch.from_numpy(score_N)
    return Seen(score, (score >= 0).double())


def figures(score_N: np.ndarray, *, level: float = 0.9, seed: int = 0, **settings):
    return GaussianMargin(**settings).of_scores(seen(score_N), is_smooth=False, level=level, seed=seed)


def test_the_estimate_is_phi_of_mean_over_deviation():
    score_N = np.random.default_rng(0).normal(-4.0, 1.3, size=1000)
    found = figures(score_N)
    assert found.log_p == pytest.approx(norm.logcdf(score_N.mean() / score_N.std()), abs=1e-9)
    assert found.flags == ("model_bias",)


def test_a_tail_below_the_smallest_float_keeps_its_logarithm():
    score_N = np.random.default_rng(0).normal(-100.0, 1.0, size=1000)
    assert figures(score_N).log_p == pytest.approx(norm.logcdf(score_N.mean() / score_N.std()), rel=1e-9)
    assert figures(score_N).log_p < -4000


def test_the_gumbel_tail_is_that_of_scipy_and_is_heavier():
    score_N = np.random.default_rng(0).gumbel(-9.0, 1.0, size=4000)
    scale = score_N.std() * math.sqrt(6) / math.pi
    location = score_N.mean() - np.euler_gamma * scale
    assert figures(score_N, tail="gumbel").log_p == pytest.approx(gumbel_r.logsf(0, location, scale), abs=1e-6)
    assert figures(score_N, tail="gumbel").log_p > figures(score_N).log_p


@pytest.mark.parametrize("tail", ["normal", "gumbel"])
def test_a_certain_event_has_a_probability_near_1(tail):
    assert figures(np.random.default_rng(0).normal(60.0, 1.0, size=100), tail=tail).log_p == pytest.approx(0, abs=1e-6)


def test_the_interval_holds_the_truth_of_normal_scores_as_often_as_it_says():
    truth = norm.logcdf(-3.0)
    inside = 0
    for seed in range(50):
        found = figures(np.random.default_rng(seed).normal(-3.0, 1.0, size=400), seed=seed)
        inside += found.log_low <= truth <= found.log_high
    assert 38 <= inside <= 50


def test_the_interval_narrows_with_the_root_of_the_rows():
    widths = []
    for n in (500, 8000):
        found = figures(np.random.default_rng(1).normal(-3.0, 1.0, size=n))
        widths.append(found.log_high - found.log_low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.35)


@pytest.mark.parametrize("score_N", [np.zeros(0), np.array([-1.0]), np.full(50, -2.0)], ids=["none", "one", "alike"])
def test_scores_that_no_law_can_be_fitted_to_leave_the_share_of_hits(score_N):
    found = figures(score_N)
    assert found.log_p == -math.inf
    assert found.flags == ("model_bias", "no_hits")
    expected = 0.0 if len(score_N) == 0 else math.log(1 - 0.1 ** (1 / len(score_N)))
    assert found.log_high == pytest.approx(expected)
