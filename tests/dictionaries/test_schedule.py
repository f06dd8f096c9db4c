"""Schedules in shares of the run."""

import dataclasses

import pytest

from bathyscope.dictionaries.schedule import Optimisation, ramp, sized_rate
from bathyscope.errors import ConfigError


def test_the_rate_rises_holds_and_falls():
    optimisation = Optimisation(lr=2.0, warm_up=0.1, decay=0.2)
    found = [optimisation.learning_rate(p) for p in (0.0, 0.05, 0.1, 0.5, 0.8, 0.9, 1.0)]
    assert found == pytest.approx([0, 1, 2, 2, 2, 1, 0])


@pytest.mark.parametrize(("n_steps", "share"), [(0, 1), (1, 1), (2500, 1), (10_000, 1 / 2), (250_000, 1 / 10)])
def test_the_rate_falls_with_the_root_of_the_steps_of_longer_runs(n_steps, share):
    optimisation = Optimisation(lr=2.0, warm_up=0.1, decay=0.2, betas=(0.5, 0.99), tuned_steps=2500)
    found = optimisation.over(n_steps)
    assert found.lr == pytest.approx(2.0 * share)
    assert dataclasses.replace(found, lr=2.0) == optimisation
    of_any_length = dataclasses.replace(optimisation, tuned_steps=None)
    assert of_any_length.over(n_steps) == of_any_length


def test_without_warm_up_and_decay_the_rate_is_constant():
    optimisation = Optimisation(lr=2.0, warm_up=0.0, decay=0.0)
    assert {optimisation.learning_rate(p) for p in (0.0, 0.3, 1.0)} == {2.0}


def test_a_ramp_over_no_share_is_always_full():
    assert ramp(0.0, 0.0) == 1


@pytest.mark.parametrize(
    ("n_features", "d_model", "factor"),
    [(64, 32, 4), (4608, 576, 1), (288, 576, 2), (4608, 144, 2), (4 * 4608, 9 * 576, 1 / 6)],
)
def test_larger_dictionaries_are_trained_more_gently(n_features, d_model, factor):
    assert sized_rate(0.6, n_features=n_features, d_model=d_model) == pytest.approx(0.6 * factor)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"lr": 0.0}, "lr is 0.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"warm_up": 0.6, "decay": 0.5}, "at most 1"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"tuned_steps": 0}, "tuned_steps is 0"),
        ({"betas": (0.9, 1.0)}, r"betas are \(0.9, 1.0\)"),
        ({"betas": (-0.1, 0.9)}, r"betas are \(-0.1, 0.9\)"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        Optimisation(**{"lr": 1e-3, "warm_up": 0.1, "decay": 0.2, **settings})
