import math
import xml.etree.ElementTree as ET

import pytest

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Estimate, Figures
from bathyscope.risk.scoring.ladder import ladder

CIRCLE, TEXT = "{http://www.w3.org/2000/svg}circle", "{http://www.w3.org/2000/svg}text"


def one(log_p, low, high, flags=()):
    figures = Figures(log_p=log_p, log_low=low, log_high=high, flags=flags)
    return Estimate(problem="p", method="a & b", figures=figures, level=0.9, cost={"spent": 7, "seconds": 1.0}, seed=0)


def test_a_likelier_estimate_stands_further_right_and_costs_are_said():
    picture = ET.fromstring(ladder([one(-20.0, -22.0, -18.0), one(-10.0, -11.0, -9.0, ("stuck",))], title="P(x < y)"))
    first, second = (float(point.attrib["cx"]) for point in picture.iter(CIRCLE))
    assert first < second
    said = [text.text for text in picture.iter(TEXT)]
    assert "a & b" in said
    assert any("7 forwards [stuck]" in line for line in said)


def test_an_estimate_of_0_stands_at_the_left_edge():
    picture = ET.fromstring(ladder([one(-math.inf, -math.inf, -5.0), one(-9.0, -10.0, -8.0)], title="t"))
    zero, other = (float(point.attrib["cx"]) for point in picture.iter(CIRCLE))
    assert zero < other
    labels = [text.text for text in picture.iter(TEXT)]
    assert "0" in labels and "1e-7" not in labels and "1e-6" in labels
    without = ET.fromstring(ladder([one(-9.0, -10.0, -8.0)], title="t"))
    assert "0" not in [text.text for text in without.iter(TEXT)]


def test_the_picture_is_as_wide_as_its_longest_line():
    flags = ("model_bias", "infeasible", "no_hits", "interrupted", "by_hand")
    plain, flagged, titled = (
        float(ET.fromstring(ladder([one(-9.0, -10.0, -8.0, own)], title=title)).attrib["width"])
        for own, title in (((), "t"), (flags, "t"), ((), "t" * 300))
    )
    assert plain < flagged < titled


def test_nothing_to_draw_is_refused():
    with pytest.raises(ConfigError, match="no estimate"):
        ladder([], title="t")
