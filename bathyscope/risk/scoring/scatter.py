"""A picture of estimates against truths, a panel for each method: intervals as bars, zeros at the lower edge.

SVG text without script, font or network. Both axes are decimal logarithms and the same in every panel.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.scoring.mark import mark

SIDE, LEFT, TOP, GAP, BOTTOM = 230.0, 46.0, 34.0, 56.0, 44.0
"""Of a panel's square, and of the room around it."""
LINE = 16.0
"""Of the legend."""
COLUMNS = 4
EDGE = 2.0
"""Decades shown below and above the truths; what lies beyond is drawn at the edge."""


@dataclass(frozen=True, slots=True)
class _Axes:
    """From decades to places in one panel."""

    left: float
    top: float
    low: float
    high: float

    def x(self, decade: float) -> float:
        return round(self.left + SIDE * self._share(decade), 1)

    def y(self, decade: float) -> float:
        return round(self.top + SIDE * (1 - self._share(decade)), 1)

    def _share(self, decade: float) -> float:
        return (min(max(decade, self.low), self.high) - self.low) / (self.high - self.low)


def scatter(truths: Sequence[float], methods: Mapping[str, Sequence[Estimate]]) -> str:
    """One SVG document. Raises ConfigError when a method has not one estimate for each truth."""
    for name, estimates in methods.items():
        if len(estimates) != len(truths) or not truths:
            raise ConfigError(f"{name}: {len(estimates)} estimates of {len(truths)} truths; expected one of each")
    low = float(math.floor(min(math.log10(p) for p in truths) - EDGE))
    high = float(math.ceil(min(0.0, max(math.log10(p) for p in truths) + EDGE)))
    rows = math.ceil(len(methods) / COLUMNS)
    columns = min(len(methods), COLUMNS)
    legend = (
        "blue: estimate with its interval",
        "orange: flagged",
        "grey: an estimate of 0 with its upper end",
        f"beyond {low:g} and {high:g}: drawn at the edge",
    )
    bottom = TOP + rows * (SIDE + TOP + BOTTOM)
    width, height = LEFT + columns * (SIDE + GAP), bottom + LINE * len(legend)
    body: list[str] = []
    for number, (name, estimates) in enumerate(methods.items()):
        left = LEFT + (number % COLUMNS) * (SIDE + GAP)
        top = TOP + (number // COLUMNS) * (SIDE + TOP + BOTTOM)
        body += _panel(name, truths, estimates, _Axes(left, top, low, high))
    body += [f'<text x="{LEFT}" y="{bottom + LINE * line}">{text}</text>' for line, text in enumerate(legend)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="11" fill="#222">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(body)}</svg>'
    )


def _panel(name: str, truths: Sequence[float], estimates: Sequence[Estimate], axes: _Axes) -> list[str]:
    parts = [
        f'<text x="{axes.left}" y="{axes.top - 8}" font-weight="bold" font-size="12">{escape(name)}</text>',
        f'<rect x="{axes.left}" y="{axes.top}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#bbb"/>',
        _line(axes.x(axes.low), axes.y(axes.low), axes.x(axes.high), axes.y(axes.high), "#bbb"),
    ]
    for decade in (float(d) for d in range(int(axes.low), int(axes.high) + 1, 2)):
        parts.append(f'<text x="{axes.left - 6}" y="{axes.y(decade) + 4}" text-anchor="end">{decade:g}</text>')
        parts.append(f'<text x="{axes.x(decade)}" y="{axes.top + SIDE + 14}" text-anchor="middle">{decade:g}</text>')
    middle, side = axes.left + SIDE / 2, (axes.left - 32, axes.top + SIDE / 2)
    parts += [
        f'<text x="{middle}" y="{axes.top + SIDE + 30}" text-anchor="middle">log10 truth</text>',
        f'<text transform="translate({side[0]} {side[1]}) rotate(-90)" text-anchor="middle">log10 estimate</text>',
    ]
    for truth, estimate in zip(truths, estimates, strict=True):
        parts += _point(math.log10(truth), estimate, axes)
    return parts


def _point(truth: float, estimate: Estimate, axes: _Axes) -> list[str]:
    low, value, high, colour = mark(estimate)
    title = f"<title>truth {10**truth:.3g}, {escape(str(estimate))}</title>"
    x = axes.x(truth)
    return [
        _line(x, axes.y(low), x, axes.y(high), colour, opacity=0.45),
        f'<circle cx="{x}" cy="{axes.y(value)}" r="2.6" fill="{colour}">{title}</circle>',
    ]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, opacity: float = 1.0) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-opacity="{opacity}"/>'
