import xml.etree.ElementTree as ET

import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Estimate, Figures
from bathyscope.risk.scoring.scatter import scatter

CIRCLE = "{http://www.w3.org/2000/svg}circle"


def one(p, method="m"):
    figures = Figures(
        log_p=float(np.log(p)) if p else -np.inf, log_low=float(np.log(1e-9)), log_high=float(np.log(1e-3))
    )
    return Estimate(
        problem="a < b", method=method, figures=figures, level=0.9, cost={"spent": 1, "seconds": 1.0}, seed=0
    )


def test_every_estimate_is_a_point_on_its_truth():
    picture = ET.fromstring(scatter([1e-8, 1e-5], {"a": [one(1e-8), one(1e-5)], "b": [one(0.0), one(1e-4)]}))
    points = [(float(point.attrib["cx"]), float(point.attrib["cy"])) for point in picture.iter(CIRCLE)]
    assert len(points) == 4
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1]


def test_an_estimate_of_0_is_drawn_at_the_lower_edge():
    picture = ET.fromstring(scatter([1e-8], {"a": [one(0.0)], "b": [one(1e-30)]}))
    zero, tiny = (float(point.attrib["cy"]) for point in picture.iter(CIRCLE))
    assert zero == tiny


def test_a_method_without_an_estimate_for_each_truth_is_refused():
    with pytest.raises(ConfigError, match="a: 1 estimates of 2 truths"):
        scatter([1e-8, 1e-5], {"a": [one(1e-8)]})
