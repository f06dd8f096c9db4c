"""What the benchmarks compute from times, on numbers that can be checked by hand."""

import xml.etree.ElementTree as ET

import pytest
from curves import curves
from index_speed import slope
from interleaved import Times, interleaved, table
from train.rounds import Record, largest_difference, ratios


def test_ratios_are_taken_round_by_round() -> None:
    slow, fast = (Record(versions={}, settings={}, seconds=seconds) for seconds in ([2.0, 8.0, 3.0], [1.0, 2.0, 3.0]))
    assert ratios(slow, fast) == (2.0, 1.0, 4.0)
    assert slow.median == 3.0


def test_the_largest_difference_of_losses_is_relative_to_the_reference() -> None:
    assert largest_difference([1.0, 2.2, 3.0], [1.0, 2.0, 4.0]) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="longer"):
        largest_difference([1.0], [1.0, 2.0])


def test_ways_are_timed_in_turn_and_the_warm_up_is_left_out() -> None:
    seen: list[str] = []
    times = interleaved({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=2, warm_up=1)
    assert seen == ["a", "b"] * 3
    assert [len(own.seconds) for own in times.values()] == [2, 2]


def test_a_way_that_takes_half_the_time_is_twice_as_fast() -> None:
    told = table({"half": Times((0.5, 1.0)), "whole": Times((1.0, 2.0))}, beside="whole", unit="ms", factor=1000)
    assert "| half | 750 | 500–1000 | 2.00 (2.00–2.00) |" in told
    assert "| whole | 1500 | 1000–2000 | 1.00 (1.00–1.00) |" in told


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    fit = slope([(x, 3 * x**1.5) for x in (1.0, 2.0, 4.0, 8.0)])
    assert fit.value == pytest.approx(1.5)
    assert fit.low == pytest.approx(fit.high, abs=1e-6)


def test_the_interval_of_a_slope_is_that_of_students_t() -> None:
    fit = slope([(1.0, 1.0), (10.0, 10.0), (100.0, 1000.0)])  # logs to base 10: 0, 1, 3 at 0, 1, 2
    # slope 3/2, residuals 1/6, -1/3, 1/6: s² = 1/6 with one degree of freedom, over Σ(x - x̄)² = 2
    half = 12.7062 * (1 / 12) ** 0.5
    assert (fit.low, fit.value, fit.high) == pytest.approx((1.5 - half, 1.5, 1.5 + half), rel=1e-4)


def test_a_chart_holds_a_line_for_each_curve_and_a_mark_for_each_point() -> None:
    lines = {"a & b": [(1.0, 10.0), (10.0, 1.0)], "c": [(2.0, 5.0), (3.0, 4.0), (20.0, 2.0)]}
    root = ET.fromstring(curves("Title", lines, x_title="x", y_title="y"))
    names = [element.tag.partition("}")[2] for element in root.iter()]
    assert names.count("polyline") == 2
    assert names.count("circle") == 5
    assert "a & b" in "".join(root.itertext())
