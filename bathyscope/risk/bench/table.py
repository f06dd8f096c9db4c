"""The report of the bench: a table of cards for each world, and what was repeated."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bathyscope.evaluation.scores import Score
from bathyscope.risk.bench.settings import RiskBench
from bathyscope.risk.bench.unbiased import Repeats
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.scoring.card import Card, Share, card
from bathyscope.risk.scoring.fit import constant

Report = tuple[Sequence[float], Mapping[str, Sequence[Estimate]]]
"""Truths, and for each method its estimates of them."""

HEAD = (
    "| method | IS loss, fitted | IS loss, raw | rms log10 error | worst | zeros | intervals that hold | unflagged "
    "| width, decades | forwards | seconds |"
)


def score_rows(world: str, truths: Sequence[float], methods: Mapping[str, Sequence[Estimate]]) -> list[Score]:
    """The figures of every method as score rows."""
    rows: list[Score] = []
    for name, estimates in methods.items():
        own = card(truths, estimates)
        rows += [
            _row(name, "IS loss, fitted", (own.is_fitted, own.is_fitted_low, own.is_fitted_high), own.n, world),
            _row(name, "rms log10 error", _exact(own.rms_log10), own.n, world),
            _row(name, "zeros", _figure(own.zeros), own.n, world),
            _row(name, "coverage", _figure(own.coverage), own.n, world),
            _row(name, "seconds", _exact(own.seconds), own.n, world),
        ]
    return rows


def table(reports: Mapping[str, Report], repeats: Iterable[Repeats], settings: RiskBench) -> str:
    """Markdown."""
    parts: list[str] = []
    for world, (truths, methods) in reports.items():
        know_nothing = float(constant(np.array(truths)).mean())
        extent = f"{len(truths)} events, {min(truths):.1e} to {max(truths):.1e}"
        parts += [
            f"## {world}: {extent}, {settings.forward:,} forwards each, {settings.level:.0%} intervals",
            "",
            HEAD,
            "|---" * HEAD.count(" | ") + "|---|",
            *(_line(name, card(truths, estimates)) for name, estimates in methods.items()),
            f"| *the mean truth for all* | {know_nothing:.2f} |" + " |" * 9,
            "",
        ]
    if lines := [_repeated(one) for one in repeats]:
        parts += ["## Means of repeated runs on one event", "", *lines, ""]
    return "\n".join(parts)


def _line(name: str, own: Card) -> str:
    cells = [
        name,
        f"{own.is_fitted:.2f} [{own.is_fitted_low:.2f}, {own.is_fitted_high:.2f}]",
        "∞" if math.isinf(own.is_loss) else f"{own.is_loss:.2f}",
        f"{own.rms_log10:.2f}",
        f"{own.worst_log10:+.2f}",
        f"{own.zeros.value * own.zeros.n:.0f} of {own.zeros.n}",
        _share(own.coverage),
        _share(own.coverage_unflagged),
        "∞" if math.isinf(own.width_log10) else f"{own.width_log10:.2f}",
        f"{own.spent:,.0f}",
        f"{own.seconds:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _share(share: Share) -> str:
    return "–" if share.n == 0 else f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}] of {share.n}"


def _repeated(one: Repeats) -> str:
    return (
        f"- {one.method}: {one.n} runs on an event of {one.truth:.2e}: mean / truth = {one.ratio:.3f}, t = {one.t:+.2f}"
    )


def _exact(value: float) -> tuple[float, float, float]:
    return value, value, value


def _figure(share: Share) -> tuple[float, float, float]:
    return share.value, share.low, share.high


def _row(subject: str, metric: str, figure: tuple[float, float, float], n: int, world: str) -> Score:
    value, low, high = figure
    return Score(subject=subject, metric=metric, value=value, low=low, high=high, n=n, unit="events", split=world)
