"""The curve of coverage: it finds planted midpoints, and its intervals hold them as often as they say."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bathyscope.evaluation.coverage_curve import fit_coverage


def drawn(seed: int, *, n: int = 150, slope: float = 4.0, midpoint: float = -3.5):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-5, -2, n)
    return x, rng.random(n) < 1 / (1 + np.exp(-slope * (x - midpoint)))


def test_the_fit_is_that_of_scikit_learn():
    x, covered = drawn(0)
    fit = fit_coverage(x, covered, n_resamples=50, seed=0)
    other = LogisticRegression(C=np.inf, tol=1e-8, max_iter=2000).fit(x[:, None], covered)
    assert fit.slope.value == pytest.approx(other.coef_[0, 0], rel=0.01)
    assert fit.midpoint.value == pytest.approx(-other.intercept_[0] / other.coef_[0, 0], abs=0.01)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(60):
        x, covered = drawn(seed)
        fit = fit_coverage(x, covered, n_resamples=200, seed=seed)
        held += fit.midpoint.low <= -3.5 <= fit.midpoint.high
    assert held >= 51, "of 60 at 95 %"


def test_a_clean_step_has_a_finite_slope_and_no_curve_is_drawn_through_one_value():
    x = np.linspace(-5, -2, 40)
    fit = fit_coverage(x, x > -3.5, n_resamples=50, seed=0)
    assert np.isfinite(fit.slope.value) and fit.midpoint.value == pytest.approx(-3.5, abs=0.1)
    assert fit_coverage(x, np.ones(40, dtype=bool), n_resamples=50, seed=0) is None
    assert fit_coverage(x, np.zeros(40, dtype=bool), n_resamples=50, seed=0) is None
