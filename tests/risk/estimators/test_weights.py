"""Rounds of weights, by hand."""

import math

import numpy as np
import pytest
import torch

from bathyscope.risk.estimators.weights import Weights


def floats(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_what_was_seen_before_counts_with_its_mass_and_not_again() -> None:
    weights = Weights(defensive=0.1)
    weights.add(floats(0.1, 0.2).log(), floats(1, 1), torch.tensor([True, False]), mass=0.05)
    figures = weights.figures(0.9)
    assert math.exp(figures.log_p) == pytest.approx(0.05 + 0.1 / 2)
    assert figures.n_hits == 2
    assert math.exp(figures.log_low) >= 0.05


def test_the_estimate_is_the_mean_over_rounds() -> None:
    weights = Weights(defensive=0.0)
    weights.add(floats(0.1).log(), floats(1), torch.tensor([True]), mass=0.0)
    weights.add(floats(0.3).log(), floats(0.5), torch.tensor([True]), mass=0.02)
    assert math.exp(weights.figures(0.9).log_p) == pytest.approx((0.1 + 0.02 + 0.15) / 2)


def test_no_hit_still_gives_an_upper_bound_from_the_laws_own_rows() -> None:
    weights = Weights(defensive=0.25)
    none_N = torch.zeros(400, dtype=torch.float64)
    weights.add(none_N, none_N, torch.ones(400) > 0, mass=0.0)
    figures = weights.figures(0.95)
    assert figures.log_p == -math.inf and figures.flags == ("no_hits",)
    assert math.exp(figures.log_high) == pytest.approx(3 / 100, rel=0.02), "three over the number of the law's own rows"


def test_nothing_drawn_excludes_nothing() -> None:
    figures = Weights(defensive=0.1).figures(0.95)
    assert (figures.log_p, figures.log_high) == (-math.inf, 0.0)


def test_one_row_that_carries_half_is_flagged_unless_the_rest_hardly_matters() -> None:
    log_w_N = torch.full((200,), math.log(1e-4), dtype=torch.float64)
    log_w_N[0] = 0.0
    for mass, flags in ((0.0, ("heavy_tail",)), (0.5, ())):
        weights = Weights(defensive=0.1)
        weights.add(log_w_N, torch.ones(200, dtype=torch.float64), torch.ones(200) > 0, mass=mass)
        assert weights.figures(0.9).flags == flags


def test_intervals_cover_a_mean_of_log_normal_weights() -> None:
    generator, covered = np.random.default_rng(0), 0
    for _ in range(50):
        weights = Weights(defensive=0.1)
        for _ in range(40):
            log_w_N = torch.from_numpy(generator.normal(-3.0, 1.0, 25))
            weights.add(log_w_N, torch.ones(25, dtype=torch.float64), torch.ones(25) > 0, mass=0.0)
        figures = weights.figures(0.9)
        covered += figures.log_low <= -2.5 <= figures.log_high
    assert covered / 50 >= 0.85
