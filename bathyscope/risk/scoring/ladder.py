"""A picture of several estimates of one probability, a rung for each: the number, its interval, what it cost.

SVG text without script, font or network; the axis is logarithmic.
"""

import math
from collections.abc import Sequence
from html import escape

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.scoring.mark import mark

WIDTH, LEFT, RIGHT, TOP, RUNG = 460.0, 220.0, 240.0, 34.0, 30.0
"""Of the axis, of the rooms beside and above it, of a rung; the room on the right grows with what stands there."""
LETTER = 6.8
"""Room that a letter takes at most, on average."""
ROOM = 2.0
"""Decades below the lowest finite end; ends at 0 are drawn there, and the axis says so."""


def ladder(estimates: Sequence[Estimate], *, title: str) -> str:
    """One SVG document. Raises ConfigError without estimates."""
    if not estimates:
        raise ConfigError("no estimate was given, expected at least one")
    ends = [end for one in estimates for end in mark(one)[:3]]
    finite = [end for end in ends if math.isfinite(end)] or [0.0]
    has_zero = len(finite) < len(ends)
    low, high = math.floor(min(finite) - ROOM), math.ceil(max(finite))
    height = TOP + RUNG * len(estimates) + 44
    body = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    step = max(1, math.ceil((high - low) / 8))
    for decade in range(low, high + 1, step):
        x = _x(float(decade), low, high)
        body.append(f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{height - 40}" stroke="#ddd"/>')
        label = "0" if has_zero and decade == low else f"1e{decade}"
        body.append(f'<text x="{x}" y="{height - 24}" text-anchor="middle">{label}</text>')
    for number, one in enumerate(estimates):
        body += _rung(one, TOP + RUNG * (number + 0.5), low, high)
    longest = max(len(_said(one)) for one in estimates)
    width = LEFT + max(WIDTH + max(RIGHT, 24 + LETTER * longest), LETTER * len(title) + 12)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="12" fill="#222">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(body)}</svg>'
    )


def _rung(one: Estimate, y: float, low: int, high: int) -> list[str]:
    left, value, right, colour = mark(one)
    ends = _x(left, low, high), _x(right, low, high)
    return [
        f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(one.method)}</text>',
        f'<line x1="{ends[0]}" y1="{y}" x2="{ends[1]}" y2="{y}" stroke="{colour}" stroke-width="3" opacity="0.4"/>',
        f'<circle cx="{_x(value, low, high)}" cy="{y}" r="4" fill="{colour}"/>',
        f'<text x="{LEFT + WIDTH + 12}" y="{y + 4}">{escape(_said(one))}</text>',
    ]


def _said(one: Estimate) -> str:
    """What stands beside a rung."""
    flags = f" [{', '.join(one.flags)}]" if one.flags else ""
    return f"{one.p:.2g}, {one.cost['spent']:,.0f} forwards{flags}"


def _x(decade: float, low: int, high: int) -> float:
    share = (min(max(decade, low), high) - low) / max(high - low, 1)
    return round(LEFT + WIDTH * share, 1)
