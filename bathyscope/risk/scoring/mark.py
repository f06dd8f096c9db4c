"""`mark`: what a picture shows of one estimate, in decades, and its colour."""

import math
from typing import NamedTuple

from bathyscope.risk.estimate import Estimate

GOOD, FLAGGED, ZERO = "#0072b2", "#d55e00", "#8a8a8a"


class Mark(NamedTuple):
    """Decimal logarithms, minus infinity for 0, and a colour."""

    low: float
    """The interval's lower end."""
    value: float
    """The estimate."""
    high: float
    """The interval's upper end."""
    colour: str
    """Blue, orange where something speaks against the number, grey for an estimate of 0."""


def mark(estimate: Estimate) -> Mark:
    """The mark of one estimate."""
    figures = estimate.figures
    low, value, high = (log / math.log(10) for log in (figures.log_low, figures.log_p, figures.log_high))
    return Mark(low, value, high, ZERO if math.isinf(value) else FLAGGED if estimate.flags else GOOD)
