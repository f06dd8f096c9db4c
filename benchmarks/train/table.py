"""One run of the timing as a Markdown table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from train.contender import CONTENDERS
from train.rounds import Record, ratios
from train.task import Task

OURS, REFERENCE, FLOOR = "ours", "dense torch", "encoder product"
"""Contenders that the others are set beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All contenders at one kind and size."""

    task: Task
    rounds: int
    steps: int
    """Of a round."""
    check_steps: int
    """Over which losses were compared."""
    records: Mapping[str, Record]
    """By contender."""
    differences: Mapping[str, float]
    """Largest relative difference of each of our losses to the reference's."""


def markdown(run: Run) -> str:
    """Heading, settings, table and the other tools' losses."""
    beside = [name for name in (OURS, REFERENCE, FLOOR) if name in run.records]
    heads = [
        "contender",
        "s per step",
        "range",
        *(f"times {name}" for name in beside),
        "MB above start",
        "L0",
        "dead",
        "version",
    ]
    lines = [*_settings(run), _row(heads), "|" + "---|" * len(heads)]
    lines += [_row(_cells(run, name, beside)) for name in run.records]
    return "\n".join([*lines, *_losses(run), ""])


def _settings(run: Run) -> list[str]:
    task = run.task
    what = f"k = {task.k}" if task.kind in ("topk", "batchtopk") else f"L0 = {task.l0} at the start"
    lines = [
        f"## {task.kind}, {task.n_features:,} features",
        "",
        f"d = {task.d_model}, batch {task.batch:,}, {what}, float32, {task.threads} threads.",
        f"Medians of {run.rounds} rounds of {run.steps} steps, least to most behind them.",
    ]
    if run.differences:
        told = "; ".join(f"{name} {value:.1e}" for name, value in run.differences.items())
        lines.append(f"Largest relative difference of the loss to {REFERENCE} over {run.check_steps} steps: {told}.")
    return [*lines, ""]


def _cells(run: Run, name: str, beside: list[str]) -> list[str]:
    record = run.records[name]
    cells = [name, f"{record.median:.3f}", f"{min(record.seconds):.3f}–{max(record.seconds):.3f}"]
    for other in beside:
        middle, low, high = ratios(record, run.records[other])
        cells.append(f"{middle:.2f} ({low:.2f}–{high:.2f})")
    l0 = f"{record.figures['l0']:.1f}" if "l0" in record.figures else ""
    dead = f"{record.figures['dead_share']:.1%}" if "dead_share" in record.figures else ""
    own = record.versions.get(CONTENDERS[name].package or "bathyscope")
    version = f"torch {record.versions['torch']}"
    return [*cells, f"{record.bytes_above_start / 1e6:,.0f}", l0, dead, f"{own}, {version}" if own else version]


def _losses(run: Run) -> list[str]:
    told = [
        f"- {name}: {record.losses[0]:.4g} to {record.losses[-1]:.4g}; {json.dumps(record.settings)}"
        for name, record in run.records.items()
        if CONTENDERS[name].package is not None
    ]
    return (
        ["", "Losses of other tools, each by its own definition, at its first and last step:", "", *told]
        if told
        else []
    )


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
