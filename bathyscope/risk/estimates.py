"""Estimates as rows on disk: one JSON object a line, in a folder of kind `estimates`."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bathyscope import artifacts
from bathyscope.files import write_atomic
from bathyscope.risk.estimate import Estimate, Figures, Witness

KIND = "estimates"
FILE = "estimates.jsonl"
_LOGS = ("log_p", "log_low", "log_high")


def write_estimates(folder: Path, estimates: Sequence[Estimate], *, truths: Sequence[float] | None = None) -> None:
    """Write `estimates.jsonl` into a folder that is being drafted; with truths, each row has its own as `truth`."""
    rows = [estimate.row() for estimate in estimates]
    if truths is not None:
        rows = [{**row, "truth": truth} for row, truth in zip(rows, truths, strict=True)]
    write_atomic(folder / FILE, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode())


def read_estimates(folder: Path) -> list[Estimate]:
    """The estimates of a finished folder, in order. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(folder, kind=KIND)
    text = artifacts.check_file(folder, manifest, FILE).read_text()
    return [estimate_of(json.loads(line)) for line in text.splitlines()]


def estimate_of(row: dict[str, Any]) -> Estimate:
    """The estimate that `Estimate.row` made this of."""
    own = dict(row["figures"])
    own.update({name: _infinite(name) for name in _LOGS if own[name] is None})
    return Estimate(
        problem=row["problem"],
        method=row["method"],
        figures=Figures(**{**own, "flags": tuple(own["flags"])}),
        level=row["level"],
        cost=row["cost"],
        seed=row["seed"],
        settings=row["settings"],
        witnesses=tuple(Witness(tokens=tuple(w["tokens"]), log_p=w["log_p"]) for w in row["witnesses"]),
    )


def _infinite(name: str) -> float:
    return math.inf if name == "log_high" else -math.inf
