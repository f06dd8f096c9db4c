"""A picture of measured points as SVG text: panels side by side, intervals as bars, a line for each series.

Knows nothing of dictionaries. The file needs no script, font or network.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean

WIDTH, HEIGHT = 430.0, 330.0
"""Size of the area of one panel."""
LEFT, TOP, GAP, BOTTOM, LEGEND = 62.0, 42.0, 84.0, 56.0, 20.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#5b5b5b", "#8c6d1f", "#1b7f8a")
"""Colours of the kinds, told apart by the colour-blind too (the first six: Okabe & Ito)."""
DASHES = ("", "7 4", "2 4", "9 3 2 3")
"""Line patterns of the series of one colour."""
NULL = "#8a8a8a"
LEAST_X, LEAST_Y = 0.5, -0.5
"""What lies below is drawn at the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measurement with its intervals."""

    name: str
    """Shown when the mouse rests on it."""
    line: str
    """The series it belongs to."""
    colour: str
    """Series of one colour differ in their dashes."""
    setting: str
    """Points of equal setting (other seeds) are averaged for the line."""
    x: tuple[float, float, float]
    """Value, low and high."""
    y: tuple[float, float, float]
    """Value, low and high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture with its own y axis."""

    title: str
    points: Sequence[Point]
    nulls: Sequence[Point]
    """The null of each point, drawn hollow and grey."""


@dataclass(frozen=True, slots=True)
class _Axes:
    """From figures to places in the picture; x is logarithmic."""

    left: float
    low_x: float
    high_x: float
    low_y: float
    high_y: float

    def x(self, value: float) -> float:
        share = math.log(max(value, self.low_x) / self.low_x) / math.log(self.high_x / self.low_x)
        return round(self.left + WIDTH * min(share, 1.0), 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low_y), self.high_y) - self.low_y) / (self.high_y - self.low_y)
        return round(TOP + HEIGHT * (1 - share), 1)


def plot(panels: Sequence[Panel], *, x_title: str) -> str:
    """The panels as one SVG document."""
    styles = _styles([point for panel in panels for point in panel.points])
    width = LEFT + len(panels) * WIDTH + (len(panels) - 1) * GAP + 24
    height = TOP + HEIGHT + BOTTOM + LEGEND * (len(styles) + 1) + 8
    body: list[str] = []
    for number, panel in enumerate(panels):
        body += _panel(panel, _axes(panel, LEFT + number * (WIDTH + GAP)), styles, x_title)
    body += _legend(styles)
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
        'font-family="system-ui, DejaVu Sans, sans-serif" font-size="12" fill="#222">'
    )
    title = f"<title>{escape(' and '.join(panel.title for panel in panels))} against {escape(x_title)}</title>"
    return "\n".join([head, title, f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>', *body, "</svg>", ""])


def _styles(points: Sequence[Point]) -> dict[str, tuple[str, str]]:
    """Series → (colour, dashes), in order of appearance."""
    colours: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    styles: dict[str, tuple[str, str]] = {}
    for point in points:
        colour = colours.setdefault(point.colour, COLOURS[len(colours) % len(COLOURS)])
        lines = members.setdefault(point.colour, [])
        if point.line not in lines:
            lines.append(point.line)
        styles[point.line] = (colour, DASHES[lines.index(point.line) % len(DASHES)])
    return styles


def _axes(panel: Panel, left: float) -> _Axes:
    shown = [*panel.points, *panel.nulls]
    xs = [max(point.x[0], LEAST_X) for point in shown] or [1.0]
    lowest = min([point.y[0] for point in shown], default=0.0)
    low_y = max(LEAST_Y, math.floor(min(lowest, 0.999) * 10) / 10)
    high_y = max([1.0, *(math.ceil(point.y[0] * 10) / 10 for point in shown)])
    return _Axes(left, min(xs) / 1.3, max(xs) * 1.3, low_y, high_y)


def _panel(panel: Panel, axes: _Axes, styles: dict[str, tuple[str, str]], x_title: str) -> list[str]:
    middle, bottom = axes.left + WIDTH / 2, TOP + HEIGHT
    drawn = [
        _text(middle, TOP - 16, panel.title, anchor="middle", size=14),
        _text(middle, bottom + 40, x_title, anchor="middle"),
        *_grid(axes),
    ]
    for line, (colour, dashes) in styles.items():
        drawn += _series([p for p in panel.nulls if p.line == line], axes, NULL, "2 3", _hollow)
        drawn += _series([p for p in panel.points if p.line == line], axes, colour, dashes, _full)
    return drawn


def _grid(axes: _Axes) -> list[str]:
    bottom, drawn = TOP + HEIGHT, list[str]()
    for value in _ticks_x(axes.low_x, axes.high_x):
        x = axes.x(value)
        drawn += [_line(x, TOP, x, bottom, "#eee"), _text(x, bottom + 18, f"{value:g}", anchor="middle")]
    step = 0.1 if axes.high_y - axes.low_y <= 1.05 else 0.25
    first = math.ceil(axes.low_y / step - 1e-9)
    for number in range(first, math.floor(axes.high_y / step + 1e-9) + 1):
        y = axes.y(number * step)
        drawn += [_line(axes.left, y, axes.left + WIDTH, y, "#ccc" if number == 0 else "#eee")]
        drawn.append(_text(axes.left - 8, y + 4, f"{number * step:.2f}".rstrip("0").rstrip("."), anchor="end"))
    frame = f'<rect x="{axes.left:g}" y="{TOP:g}" width="{WIDTH:g}" height="{HEIGHT:g}" fill="none" stroke="#888"/>'
    return [*drawn, frame]


def _ticks_x(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**power for power in powers for m in (1, 2, 5) if low <= m * 10.0**power <= high]


def _series(
    points: Sequence[Point], axes: _Axes, colour: str, dashes: str, mark: Callable[[Point, _Axes, str], str]
) -> list[str]:
    """Bars, marks, and a line through the means of points of equal setting, in order of x."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.setting, []).append(point)
    means = sorted((fmean(p.x[0] for p in group), fmean(p.y[0] for p in group)) for group in groups.values())
    drawn: list[str] = []
    if len(means) > 1:
        path = " ".join(f"{axes.x(x):g},{axes.y(y):g}" for x, y in means)
        style = f' stroke-dasharray="{dashes}"' if dashes else ""
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{style}/>')
    for point in points:
        x, y = axes.x(point.x[0]), axes.y(point.y[0])
        if math.isfinite(point.y[1]) and math.isfinite(point.y[2]):
            drawn.append(_line(x, axes.y(point.y[1]), x, axes.y(point.y[2]), colour))
        if math.isfinite(point.x[1]) and math.isfinite(point.x[2]):
            drawn.append(_line(axes.x(point.x[1]), y, axes.x(point.x[2]), y, colour))
        drawn.append(mark(point, axes, colour))
    return drawn


def _full(point: Point, axes: _Axes, colour: str) -> str:
    return _mark(point, axes, f'fill="{colour}"', point.name)


def _hollow(point: Point, axes: _Axes, colour: str) -> str:
    return _mark(point, axes, f'fill="#fff" stroke="{colour}" stroke-width="1.4"', f"random, like {point.name}")


def _mark(point: Point, axes: _Axes, style: str, name: str) -> str:
    """A circle; a triangle at the edge for what lies below the axis."""
    x, y = axes.x(point.x[0]), axes.y(point.y[0])
    title = f"<title>{escape(name)}: {point.x[0]:.1f}, {point.y[0]:.3f}</title>"
    if point.y[0] < axes.low_y:
        return f'<path d="M{x - 5:g} {y - 8:g}h10l-5 8z" {style}>{title}</path>'
    return f'<circle cx="{x:g}" cy="{y:g}" r="4" {style}>{title}</circle>'


def _legend(styles: dict[str, tuple[str, str]]) -> list[str]:
    drawn: list[str] = []
    rows = [(line, colour, dashes) for line, (colour, dashes) in styles.items()]
    rows.append(("random directions, as many features and active ones per token", NULL, "2 3"))
    for number, (line, colour, dashes) in enumerate(rows):
        y = TOP + HEIGHT + BOTTOM + LEGEND * number + 6
        style = f' stroke-dasharray="{dashes}"' if dashes else ""
        fill = "#fff" if colour == NULL else colour
        drawn.append(f'<path d="M{LEFT:g} {y:g}h34" stroke="{colour}" stroke-width="1.6"{style}/>')
        drawn.append(f'<circle cx="{LEFT + 17:g}" cy="{y:g}" r="4" fill="{fill}" stroke="{colour}"/>')
        drawn.append(_text(LEFT + 44, y + 4, line))
    return drawn


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}"/>'
