import dataclasses

import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Estimate, Figures
from bathyscope.risk.scoring.card import card
from bathyscope.risk.scoring.fit import constant, fit, leave_one_out
from bathyscope.risk.scoring.losses import itakura_saito, log10_error

TRUTHS = np.exp(np.random.default_rng(0).uniform(np.log(1e-9), np.log(1e-4), size=40))


def test_the_loss_is_0_for_the_truth_and_dearer_below_than_above():
    assert itakura_saito(TRUTHS, TRUTHS) == pytest.approx(0)
    assert (itakura_saito(TRUTHS, TRUTHS / 10) > itakura_saito(TRUTHS, TRUTHS * 10)).all()
    assert itakura_saito(TRUTHS, 0 * TRUTHS).min() == np.inf


def test_the_best_constant_is_the_mean():
    losses = [itakura_saito(TRUTHS, np.full(40, TRUTHS.mean() * factor)).mean() for factor in (0.8, 1.0, 1.25)]
    assert losses[1] == min(losses)


def test_decades_count_decades():
    assert log10_error(TRUTHS, TRUTHS * 100) == pytest.approx(2)


def test_a_fit_undoes_a_power_law():
    assert itakura_saito(TRUTHS, fit(TRUTHS, 3 * TRUTHS**0.6)(3 * TRUTHS**0.6)).mean() < 1e-3


def test_scaling_all_estimates_leaves_the_fitted_loss():
    noisy = TRUTHS * np.exp(np.random.default_rng(1).normal(size=40))
    assert leave_one_out(TRUTHS, noisy).mean() == pytest.approx(leave_one_out(TRUTHS, 1e4 * noisy).mean(), abs=0.02)


def test_zeros_everywhere_cost_no_more_than_a_constant():
    assert leave_one_out(TRUTHS, 0 * TRUTHS) == pytest.approx(constant(TRUTHS), rel=1e-6)


def test_a_lone_zero_does_not_cost_everything():
    estimates = TRUTHS.copy()
    estimates[TRUTHS.argmin()] = 0
    assert leave_one_out(TRUTHS, estimates).max() < 20


def estimates(factor, *, low=0.5, high=2.0, flags=()):
    return [
        Estimate(
            problem="p",
            method="m",
            figures=Figures(
                log_p=float(np.log(p * factor)) if factor else -np.inf,
                log_low=float(np.log(p * low)),
                log_high=float(np.log(p * high)),
                flags=flags,
            ),
            level=0.9,
            cost={"spent": 10, "seconds": 0.5},
            seed=0,
        )
        for p in TRUTHS
    ]


def test_a_card_says_what_was_put_in():
    found = card(list(TRUTHS), estimates(1.5))
    assert found.rms_log10 == pytest.approx(np.log10(1.5))
    assert found.coverage.value == 1
    assert found.zeros.value == 0
    assert found.width_log10 == pytest.approx(np.log10(4))
    assert (found.spent, found.seconds, found.n) == (10, 0.5, 40)
    assert found.is_fitted < 1e-3 < found.is_loss


def test_intervals_that_miss_are_counted_as_such():
    found = card(list(TRUTHS), estimates(1.5, low=1.2))
    assert found.coverage.value == 0
    assert found.coverage.high < 0.1


def test_flagged_estimates_are_left_out_where_it_says_so():
    found = card(list(TRUTHS), estimates(1.0, flags=("no_hits",)))
    assert found.coverage_unflagged.n == 0


def test_an_estimate_of_0_stands_as_its_upper_end():
    found = card(list(TRUTHS), estimates(0.0, high=10.0))
    assert found.zeros.value == 1
    assert found.rms_log10 == pytest.approx(1)
    assert found.is_loss == np.inf


def test_truths_and_estimates_that_do_not_match_are_refused():
    with pytest.raises(ConfigError, match="40 truths and 3 estimates"):
        card(list(TRUTHS), estimates(1.0)[:3])


def test_a_row_of_json_has_no_infinities():
    row = dataclasses.replace(estimates(0.0)[0]).row()
    assert row["figures"]["log_p"] is None
    assert row["p"] == 0
