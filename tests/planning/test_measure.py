"""Measuring: the fit finds planted rates, clocks take turns, and every measure gives a rate."""

import numpy as np
import pytest

from bathyscope.planning.measure import clock, disk, forward, index, machine, step
from bathyscope.planning.measure.copy import bounds, copy_rate
from bathyscope.planning.measure.fit import fitted_rates
from bathyscope.planning.work import SORTS, Rates

AMOUNTS = [{"a": 1.0, "b": 10.0}, {"a": 2.0, "b": 10.0}, {"a": 1.0, "b": 40.0}]
FAST = {"a": 1e6, "b": 1e6}


def test_planted_rates_are_found_again():
    seconds = [each["a"] / 4 + each["b"] / 100 for each in AMOUNTS]
    assert fitted_rates(AMOUNTS, seconds, fastest=FAST) == pytest.approx({"a": 4.0, "b": 100.0})


def test_no_rate_is_above_its_bound_and_the_others_make_up_for_it():
    seconds = [each["b"] / 100 for each in AMOUNTS]
    found = fitted_rates(AMOUNTS, seconds, fastest=FAST)
    assert found["b"] == pytest.approx(100, rel=1e-3) and found["a"] == pytest.approx(1e6)
    falling = [1.0, 0.5, 4.0]  # twice the a in half the time: a cost below zero would fit best
    found = fitted_rates(AMOUNTS, falling, fastest={"a": 8.0, "b": 1e6})
    assert found["a"] == pytest.approx(8.0) and found["b"] > 0


def test_the_fit_is_the_best_of_many_that_keep_the_bounds():
    rng = np.random.default_rng(0)
    amounts = [{"a": float(a), "b": float(b), "c": 1.0} for a, b in rng.random((8, 2))]
    seconds = [each["a"] + 0.01 * each["c"] + 0.3 * float(rng.random()) for each in amounts]
    found = fitted_rates(amounts, seconds, fastest=dict.fromkeys("abc", 100.0))
    table = np.array([[each[sort] for sort in "abc"] for each in amounts]) / np.array(seconds)[:, None]

    def error(cost: np.ndarray) -> float:
        return float(np.square(table @ cost - 1).sum())

    own = error(np.array([1 / found[sort] for sort in "abc"]))
    others = 0.01 + rng.random((2000, 3)) * np.array([2.0, 1.0, 0.5])
    assert own <= min(error(cost) for cost in others) + 1e-12


def test_calls_take_turns_and_the_first_warms_up():
    order: list[str] = []
    found = clock.seconds_of({"x": lambda: order.append("x"), "y": lambda: order.append("y")}, rounds=3)
    assert order == ["x", "y"] * 4
    assert set(found) == {"x", "y"} and min(found.values()) >= 0


def test_bytes_are_bounded_by_copies_and_steps_by_what_can_begin():
    assert bounds(10.0, ("scan", "step")) == {"scan": 40.0, "step": 1e5}


def test_every_measure_gives_positive_rates_and_together_they_make_rates(monkeypatch, tmp_path):
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path))
    for module, small in (
        (step, ((64, 64, 4), (128, 64, 4), (64, 128, 8), (64, 64, 16), (128, 128, 4))),
        (index, ((64, 64, 4), (128, 64, 8), (256, 32, 4))),
    ):
        monkeypatch.setattr(module, "SIZES", small)
        monkeypatch.setattr(module, "D_MODEL", 32)
    for name, value in {"EXAMPLE_ROWS": 256, "EXAMPLE_FEATURES": 64, "NEAR_FEATURES": 64}.items():
        monkeypatch.setattr(index, name, value)
    monkeypatch.setattr(index, "COUNTED_TOKENS", 64)
    monkeypatch.setattr(forward, "ROWS", 2)
    monkeypatch.setattr(disk, "FILE_BYTES", 1 << 16)
    rates, seconds = machine.measured(rounds=1)
    assert set(rates) == set(SORTS) - {"link", "tokenise"}
    Rates(per_second={**rates, "link": 1.0, "tokenise": 1.0})
    assert seconds > 0
    assert copy_rate(rounds=1) > 0
