"""One picture for each concept: the score of every method at every strength, as SVG text without script or font."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 460.0, 300.0, 54.0, 44.0, 52.0, 18.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#8c6d1f", "#1b7f8a")
"""Told apart by the colour-blind too (the first six: Okabe & Ito)."""
NULL = "#8a8a8a"
DASHES = ("", "1.5 3", "9 3 2 3")
"""Lines of one colour are told apart by their strokes."""
SPREAD = 4.0
"""Distance between the intervals of neighbouring lines at one strength."""
FONT = 'font-family="system-ui, DejaVu Sans, sans-serif" font-size="12" fill="#222"'
MOST = 2.0
"""The highest score."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A score at a strength, with its interval."""

    factor: float
    value: float
    low: float
    high: float


def chart(title: str, lines: Mapping[str, Sequence[Dot]], *, nulls: frozenset[str], x_title: str) -> str:
    """The curves of one concept. A line with a single dot at factor 0 has no strength and is drawn straight across;
    nulls are grey and dashed."""
    factors = sorted({dot.factor for dots in lines.values() for dot in dots if dot.factor > 0}) or [1.0]
    height = TOP + HEIGHT + BOTTOM + LEGEND * len(lines) + 8
    width = LEFT + WIDTH + 20
    body = _frame(factors, x_title)
    strokes = itertools.cycle((colour, dash) for dash in DASHES for colour in COLOURS)
    for number, (name, dots) in enumerate(lines.items()):
        colour, dash = (NULL, "5 4") if name in nulls else next(strokes)
        aside = SPREAD * (number - (len(lines) - 1) / 2)
        body += _curve(name, dots, factors, colour, dash, aside)
        y = TOP + HEIGHT + BOTTOM + LEGEND * number
        body.append(_path(f"M{LEFT:g} {y:g}h30", colour, dash))
        body.append(f'<text x="{LEFT + 40:g}" y="{y + 4:g}">{escape(name)}</text>')
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
            f'<text x="{LEFT:g}" y="24" font-size="15">{escape(title)}</text>',
            *body,
            "</svg>",
            "",
        ]
    )


def _frame(factors: Sequence[float], x_title: str) -> list[str]:
    bottom = TOP + HEIGHT
    drawn = [f'<rect x="{LEFT:g}" y="{TOP:g}" width="{WIDTH:g}" height="{HEIGHT:g}" fill="none" stroke="#888"/>']
    for step in range(5):
        value = MOST * step / 4
        drawn.append(_path(f"M{LEFT:g} {_y(value):g}h{WIDTH:g}", "#eee", ""))
        drawn.append(f'<text x="{LEFT - 8:g}" y="{_y(value) + 4:g}" text-anchor="end">{value:g}</text>')
    for factor in factors:
        x = _x(factor, factors)
        drawn.append(f'<text x="{x:g}" y="{bottom + 17:g}" text-anchor="middle">{factor:g}</text>')
    drawn.append(f'<text x="{LEFT + WIDTH / 2:g}" y="{bottom + 36:g}" text-anchor="middle">{escape(x_title)}</text>')
    return drawn


def _curve(name: str, dots: Sequence[Dot], factors: Sequence[float], colour: str, dash: str, aside: float) -> list[str]:
    if all(dot.factor == 0 for dot in dots):
        return [_path(f"M{LEFT:g} {_y(dot.value):g}h{WIDTH:g}", colour, dash, name) for dot in dots]
    ordered = sorted(dots, key=lambda dot: dot.factor)
    places = [(round(_x(dot.factor, factors) + aside, 1), _y(dot.value)) for dot in ordered]
    drawn = [_path("M" + "L".join(f"{x:g} {y:g}" for x, y in places), colour, dash, name)]
    for (x, y), dot in zip(places, ordered, strict=True):
        if math.isfinite(dot.low) and math.isfinite(dot.high):
            drawn.append(_path(f"M{x:g} {_y(dot.low):g}V{_y(dot.high):g}", colour, ""))
        told = f"{escape(name)} at {dot.factor:g}: {dot.value:.2f}"
        drawn.append(f'<circle cx="{x:g}" cy="{y:g}" r="3.5" fill="{colour}"><title>{told}</title></circle>')
    return drawn


def _x(factor: float, factors: Sequence[float]) -> float:
    """Factors stand at equal distances, in their order."""
    return round(LEFT + WIDTH * (factors.index(factor) + 0.5) / len(factors), 1)


def _y(value: float) -> float:
    return round(TOP + HEIGHT * (1 - min(max(value, 0.0), MOST) / MOST), 1)


def _path(d: str, colour: str, dash: str, title: str = "") -> str:
    style = f' stroke-dasharray="{dash}"' if dash else ""
    inside = f"<title>{escape(title)}</title>" if title else ""
    return f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="1.5"{style}>{inside}</path>'
