"""Curves on logarithmic axes as SVG text, without script or font."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 520.0, 340.0, 62.0, 44.0, 52.0, 18.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#5b5b5b", "#8c6d1f", "#1b7f8a")
"""Told apart by the colour-blind too (the first six: Okabe & Ito)."""

Curve = Sequence[tuple[float, float]]
"""Points, both numbers positive."""


def curves(title: str, lines: Mapping[str, Curve], *, x_title: str, y_title: str) -> str:
    """One SVG document with a line for each curve, its points marked, and a legend."""
    x_axis, y_axis = (_axis([point[i] for line in lines.values() for point in line]) for i in (0, 1))
    height = TOP + HEIGHT + BOTTOM + LEGEND * len(lines) + 8
    body = [*_frame(x_axis, y_axis, x_title, y_title)]
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(LEFT + WIDTH * _share(x, x_axis), TOP + HEIGHT * (1 - _share(y, y_axis))) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        for (x, y), (seconds, value) in zip(places, line, strict=True):
            told = f"<title>{escape(name)}: {seconds:.4g}, {value:.4g}</title>"
            body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}">{told}</circle>')
        y = TOP + HEIGHT + BOTTOM + LEGEND * number
        body.append(f'<path d="M{LEFT:g} {y:g}h30" stroke="{colour}" stroke-width="1.6"/>')
        body.append(_text(LEFT + 40, y + 4, name))
    size = f'width="{LEFT + WIDTH + 24:g}" height="{height:g}"'
    font = 'font-family="system-ui, DejaVu Sans, sans-serif" font-size="12" fill="#222"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}><title>{escape(title)}</title>'
    return "\n".join(
        [head, '<rect width="100%" height="100%" fill="#fff"/>', _text(LEFT, 24, title), *body, "</svg>", ""]
    )


def _axis(values: Sequence[float]) -> tuple[float, float]:
    """Least and largest, a little apart from the points."""
    return min(values) / 1.15, max(values) * 1.15


def _share(value: float, axis: tuple[float, float]) -> float:
    return math.log(value / axis[0]) / math.log(axis[1] / axis[0])


def _ticks(axis: tuple[float, float]) -> list[float]:
    """1, 2 and 5 times powers of ten."""
    powers = range(math.floor(math.log10(axis[0])), math.ceil(math.log10(axis[1])) + 1)
    return [m * 10.0**power for power in powers for m in (1, 2, 5) if axis[0] <= m * 10.0**power <= axis[1]]


def _frame(x_axis: tuple[float, float], y_axis: tuple[float, float], x_title: str, y_title: str) -> list[str]:
    bottom = TOP + HEIGHT
    drawn = [f'<rect x="{LEFT:g}" y="{TOP:g}" width="{WIDTH:g}" height="{HEIGHT:g}" fill="none" stroke="#888"/>']
    for value in _ticks(x_axis):
        x = LEFT + WIDTH * _share(value, x_axis)
        drawn += [
            f'<path d="M{x:.1f} {TOP:g}V{bottom:g}" stroke="#eee"/>',
            _text(x, bottom + 17, f"{value:g}", "middle"),
        ]
    for value in _ticks(y_axis):
        y = TOP + HEIGHT * (1 - _share(value, y_axis))
        drawn += [f'<path d="M{LEFT:g} {y:.1f}h{WIDTH:g}" stroke="#eee"/>', _text(LEFT - 8, y + 4, f"{value:g}", "end")]
    return [*drawn, _text(LEFT + WIDTH / 2, bottom + 36, x_title, "middle"), _text(LEFT, TOP - 6, y_title)]


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
