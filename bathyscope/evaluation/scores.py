"""Score rows: one figure each, with its interval, its subject and its null in the same table."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bathyscope import artifacts
from bathyscope.evaluation.intervals import Interval

FILE = "scores.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One figure about one subject."""

    subject: str
    """What was measured: `dictionary`, or a null such as `random dictionary`, `zeroed layer`, `mean`."""
    metric: str
    """Name of the figure, such as `variance explained`."""
    value: float
    """The figure."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    n: int
    """Independent units behind the interval."""
    unit: str
    """What `n` counts: documents, prompts, …"""
    split: str
    """Which data: `held_out`, `train`, `report prompts`, …"""


def score(subject: str, metric: str, interval: Interval, *, unit: str = "documents", split: str = "held_out") -> Score:
    """A score row from an interval."""
    return Score(
        subject=subject,
        metric=metric,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        unit=unit,
        split=split,
    )


def write_scores(folder: Path, rows: Iterable[Score]) -> None:
    """Write `rows` as `scores.jsonl`, one JSON object a line."""
    lines = [json.dumps(to_row(row), sort_keys=True) for row in rows]
    artifacts.write_atomic(folder / FILE, ("\n".join(lines) + "\n").encode())


def read_scores(path: Path) -> list[Score]:
    """The rows of a finished folder of kind `scores`. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind="scores")
    text = artifacts.check_file(path, manifest, FILE).read_text()
    return [from_row(json.loads(line)) for line in text.splitlines() if line]


def to_row(row: Score) -> dict[str, Any]:
    """A score as JSON data; infinite ends become null."""
    return {name: value if not _infinite(value) else None for name, value in asdict(row).items()}


def from_row(row: dict[str, Any]) -> Score:
    """The score that `to_row` made `row` of."""
    infinite = {"low": float("-inf"), "high": float("inf")}
    return Score(**{**row, **{end: value for end, value in infinite.items() if row[end] is None}})


def _infinite(value: object) -> bool:
    return isinstance(value, float) and value in (float("inf"), float("-inf"))
