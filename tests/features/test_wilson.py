"""Wilson's interval: values by hand, and how often it holds the truth."""

import numpy as np
import pytest
from scipy.stats import binom

from bathyscope.features.wilson import Z, wilson


def test_ends_are_those_of_the_formula_by_hand():
    low, high = wilson(0.5, 10)
    assert (float(low), float(high)) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    low, high = wilson(0.0, 10)
    assert float(low) == 0.0
    assert float(high) == pytest.approx(Z**2 / (10 + Z**2))


def test_ends_lie_within_0_and_1_and_around_the_share():
    p_X, n_X = np.array([0.0, 1.0, 1e-9, 0.3]), np.array([1.0, 3.0, 50.0, 1e12])
    low_X, high_X = wilson(p_X, n_X)
    assert (low_X >= 0).all() and (low_X <= p_X).all() and (p_X <= high_X).all() and (high_X <= 1).all()
    assert (high_X > low_X).all()


def test_a_larger_quantile_widens_it():
    low_X, high_X = wilson(np.array([0.2, 0.2]), np.array([40.0, 40.0]), np.array([Z, 3.0]))
    assert low_X[1] < low_X[0] and high_X[1] > high_X[0]


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_it_holds_the_truth_about_as_often_as_it_says(p: float):
    n = 80
    k_X = np.arange(n + 1)
    low_X, high_X = wilson(k_X / n, np.full(n + 1, float(n)))
    held = binom.pmf(k_X, n, p)[(low_X <= p) & (p <= high_X)].sum()
    assert 0.93 < held < 0.98
