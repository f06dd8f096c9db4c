"""Several dictionaries on the same held-out documents: one table and one plot, each beside its null.

A folder of kind `comparison`: `comparison.jsonl` (a line per dictionary with all its scores), `comparison.md` (the
table) and `comparison.svg` (L0 against variance explained and against loss recovered).
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bathyscope import artifacts
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import MANIFEST, Recipe, read_manifest
from bathyscope.config import to_json
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.evaluation.compare_plot import Panel, Point, plot
from bathyscope.evaluation.fidelity import DEFAULTS, FidelitySettings, measure, planned
from bathyscope.evaluation.scores import Score, from_row, to_row
from bathyscope.files import write_atomic
from bathyscope.models.model import Model

FILE, TABLE, PLOT = "comparison.jsonl", "comparison.md", "comparison.svg"
COLUMNS = ("L0", "variance explained", "CE loss recovered", "KL", "dead share", "dense share")
"""Figures of the table, for each dictionary; the second and third also for its null."""
WITH_NULL = ("variance explained", "CE loss recovered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One dictionary's line of a comparison."""

    name: str
    """What it is called there."""
    kind: str
    """Class name of its kind, or `unknown` for a dictionary that does not say."""
    n_features: int
    """F, number of features."""
    settings: Mapping[str, Any]
    """The kind's settings, as JSON data."""
    scores: tuple[Score, ...]
    """What `fidelity` says of it, nulls included."""

    def score(self, metric: str, subject: str = "dictionary") -> Score:
        """One figure. Raises KeyError when it was not measured."""
        for row in self.scores:
            if (row.metric, row.subject) == (metric, subject):
                return row
        raise KeyError(f"{metric} of {subject}")


def compare(
    model: Model,
    dictionaries: Mapping[str, Dictionary],
    store: ActivationStore,
    *,
    out: str | Path,
    settings: FidelitySettings = DEFAULTS,
) -> list[Compared]:
    """What `fidelity` says of each dictionary, with one pass over rows and model for all; written to the folder `out`.

    Interrupted runs resume after the last finished batch. Raises ModelError or ConfigError when model, dictionaries
    and store do not belong together.
    """
    recipe = Recipe(
        kind="comparison",
        config=_config(dictionaries, settings),
        seed=settings.seed,
        parents={"activations": store.path},
        materials=store.materials,
    )
    if not artifacts.is_finished(Path(out), recipe):
        plan = planned(model, dictionaries, store, settings)
        with artifacts.draft(Path(out), recipe) as work:
            scores = measure(plan, work)
            rows = [_compared(name, dictionaries[name], scores[name]) for name in dictionaries]
            lines = [json.dumps(_to_json(row), sort_keys=True) for row in rows]
            write_atomic(work.path / FILE, ("\n".join(lines) + "\n").encode())
            write_atomic(work.path / TABLE, table(rows).encode())
            write_atomic(work.path / PLOT, picture(rows).encode())
    return read_comparison(out)


def place_for(run: Path, dictionaries: Mapping[str, Dictionary], settings: FidelitySettings) -> Path:
    """`run/comparison` if it is free or holds this very comparison, else the first such of `comparison-2`, …"""
    wanted, number, place = to_json(_config(dictionaries, settings)), 1, run / "comparison"
    while (place / MANIFEST).exists() and read_manifest(place, kind="comparison").config != wanted:
        number += 1
        place = run / f"comparison-{number}"
    return place


def _config(dictionaries: Mapping[str, Dictionary], settings: FidelitySettings) -> dict[str, Any]:
    return {"settings": settings, "dictionaries": {name: found.digest for name, found in dictionaries.items()}}


def read_comparison(path: str | Path) -> list[Compared]:
    """The lines of a finished folder. Raises ArtifactError for another kind or an altered file."""
    manifest = read_manifest(Path(path), kind="comparison")
    text = artifacts.check_file(Path(path), manifest, FILE).read_text()
    rows = [json.loads(line) for line in text.splitlines() if line]
    return [Compared(**{**row, "scores": tuple(from_row(score) for score in row["scores"])}) for row in rows]


def table(rows: Iterable[Compared]) -> str:
    """The comparison as a Markdown table, 95 % intervals in brackets, sorted as given."""
    heads = ["dictionary", "features"]
    for metric in COLUMNS:
        heads += [metric, f"{metric}, random"] if metric in WITH_NULL else [metric]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        cells = [row.name, f"{row.n_features:,}"]
        for metric in COLUMNS:
            cells.append(_shown(row.score(metric)))
            if metric in WITH_NULL:
                cells.append(_shown(row.score(metric, "random dictionary")))
        lines.append(f"| {' | '.join(cells)} |")
    note = "Held-out documents; 95 % intervals over documents (over features for the shares). `random`: directions "
    note += "drawn at random, as many features and as many active ones per token."
    return "\n".join([*lines, "", note, ""])


def picture(rows: Iterable[Compared]) -> str:
    """The comparison as an SVG picture: a line for each kind and size, its null beside it."""
    compared = list(rows)
    panels = [
        Panel(
            title=metric,
            points=[_point(row, metric) for row in compared],
            nulls=[_point(row, metric, "random dictionary") for row in compared],
        )
        for metric in WITH_NULL
    ]
    return plot(panels, x_title="L0: active features per token")


def _point(row: Compared, metric: str, subject: str = "dictionary") -> Point:
    x, y = row.score("L0", subject), row.score(metric, subject)
    return Point(
        name=row.name,
        line=f"{row.kind} {row.n_features:,}",
        colour=row.kind,
        setting=json.dumps(row.settings, sort_keys=True),
        x=(x.value, x.low, x.high),
        y=(y.value, y.low, y.high),
    )


def _compared(name: str, dictionary: Dictionary, scores: list[Score]) -> Compared:
    settings = dict(dictionary.kind or {})
    kind, source = settings.get("kind"), dictionary.source or {}
    return Compared(
        name=name,
        kind=str(kind or source.get("format") or "unknown"),
        n_features=dictionary.n_features,
        settings=settings,
        scores=tuple(scores),
    )


def _to_json(row: Compared) -> dict[str, Any]:
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return {**fields, "scores": [to_row(score) for score in row.scores]}


def _shown(score: Score) -> str:
    digits = 1 if score.metric == "L0" else 3
    value, low, high = (f"{number:.{digits}f}" for number in (score.value, score.low, score.high))
    return f"{value} [{low}, {high}]"
