"""`rate_trials`: from a folder of answers to ratings, figures with intervals, a table, and a picture of each concept.

A folder of kind `scores`: `ratings.jsonl` (every answer with every rating), `scores.jsonl`, `table.md`, and
`chart-CONCEPT.svg`.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.steering.answers import SteeredAnswer, read_answers
from bathyscope.evaluation.steering.chart import Dot, chart
from bathyscope.evaluation.steering.figures import (
    SCORE,
    calibration_scores,
    chosen_factors,
    concept_scores,
    difference,
    dose_scores,
    method_scores,
    ratio,
    reported,
)
from bathyscope.evaluation.steering.judges.judge import ASPECTS, Aspect, Known, SteeringJudge
from bathyscope.evaluation.steering.ratings import Rated, gathered, panels
from bathyscope.evaluation.steering.table import table
from bathyscope.files import write_atomic

RATINGS, TABLE = "ratings.jsonl", "table.md"
TIMES, LESS = "score, times that of", "score, less that of"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A claim about two groups of methods: how many times the score of the others has one?"""

    method: str
    beside: tuple[str, ...]
    """Their mean score is the one compared with."""


def rate_trials(
    trials: Path,
    judges: Sequence[SteeringJudge],
    *,
    out: str | Path,
    nulls: Iterable[str] = (),
    comparisons: Sequence[Comparison] = (),
    identity: Mapping[str, Any] | None = None,
    more: Sequence[Score] = (),
    seed: int = 0,
) -> list[Score]:
    """Score rows of every method under every judge of the concept; also in the folder `out` (kind `scores`).

    `nulls` are methods that should do nothing; `identity` says what decides the judges' ratings, for the manifest;
    `more` are rows that belong to the same table, such as detection. An interrupted run goes on after the last judge.
    Raises ConfigError when an aspect has no judge, or when there is one instruction only.
    """
    out, nulls = Path(out), frozenset(nulls)
    lacking = sorted(set(ASPECTS) - {judge.aspect for judge in judges})
    if lacking:
        raise ConfigError(f"no judge rates {lacking[0]}: a score is made of {', '.join(ASPECTS)}")
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "steering towards concepts",
            "judges": [f"{judge.aspect}: {judge.name}" for judge in judges],
            "identity": dict(identity or {}),
            "comparisons": [asdict(each) for each in comparisons],
            "nulls": sorted(nulls),
            "more": [asdict(row) for row in more],
        },
        seed=seed,
        parents={"trials": trials},
        materials=artifacts.read_manifest(trials, kind="trials").materials,
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            answers = read_answers(trials)
            if len({row.instruction for row in answers}) < 2:
                raise ConfigError(f"{trials} has answers to one instruction; one half chooses, the other half reports")
            rated, known = _rated(answers, judges, work)
            rows = [
                row for (aspect, name), own in known.items() for row in calibration_scores(name, aspect, own, seed=seed)
            ]
            chosen: dict[str, dict[str, float]] = {}
            for panel in panels(judges):
                rows += _panel_rows(rated, panel, comparisons, seed=seed)
                chosen |= _chosen(rated, panel)
            rows += more
            _write(work, rated, rows, panels(judges)[0], nulls, seed=seed)
            write_atomic(work.path / TABLE, table(rows, nulls=nulls, chosen=chosen).encode())
    return read_scores(out)


def read_ratings(path: Path) -> list[Rated]:
    """Every answer with its ratings, of a finished folder that `rate_trials` wrote.

    Raises ArtifactError for another kind or an altered file.
    """
    manifest = artifacts.read_manifest(path, kind="scores")
    text = artifacts.check_file(path, manifest, RATINGS).read_text("utf-8")
    found: list[Rated] = []
    for row in (json.loads(line) for line in text.split("\n") if line):
        ratings = {tuple(name.split(": ", 1)): rating for name, rating in row.pop("ratings").items()}
        found.append(Rated(answer=SteeredAnswer(**{**row, "tokens": tuple(row["tokens"])}), ratings=ratings))
    return found


def _panel_rows(
    rated: Sequence[Rated], panel: Mapping[Aspect, str], comparisons: Sequence[Comparison], *, seed: int
) -> list[Score]:
    """The rows of one judge of the concept."""
    judged_by, counted = panel["concept"], reported(rated, panel)
    rows = method_scores(counted, judged_by=judged_by, seed=seed)
    methods = {row.method for row in counted}
    for each in comparisons:
        beside = tuple(name for name in each.beside if name in methods)
        if each.method in methods and beside:
            others = f"{' and '.join(beside)} · {judged_by}"
            found = {f"{LESS} {others}": difference(counted, each.method, beside, seed=seed)}
            times = ratio(counted, each.method, beside, seed=seed)
            if math.isfinite(times.low):  # elsewhere the others score nothing in some resample
                found[f"{TIMES} {others}"] = times
            rows += [
                score(each.method, metric, interval, unit="concepts", split="report instructions")
                for metric, interval in found.items()
            ]
    return rows + concept_scores(counted, judged_by=judged_by, seed=seed)


def _chosen(rated: Sequence[Rated], panel: Mapping[Aspect, str]) -> dict[str, dict[str, float]]:
    """Judge and method → `least` and `most` of the factors chosen."""
    found: dict[str, list[float]] = {}
    for (_, method, _), factor in chosen_factors(rated, panel).items():
        found.setdefault(f"{panel['concept']} · {method}", []).append(factor)
    return {key: {"least": min(factors), "most": max(factors)} for key, factors in found.items()}


def _rated(
    answers: Sequence[SteeredAnswer], judges: Sequence[SteeringJudge], work: Draft
) -> tuple[list[Rated], dict[tuple[Aspect, str], list[Known]]]:
    """All ratings, and what each judge says of what is known; checkpointed after each judge."""
    state: dict[str, Any] = work.state() or {"ratings": []}
    known: dict[tuple[Aspect, str], list[Known]] = {}
    for number, judge in enumerate(judges):
        if number >= len(state["ratings"]):
            state["ratings"].append(judge.rate(answers))
            work.checkpoint(state)
        known[judge.aspect, judge.name] = judge.calibration()
        progress.report("rate", number + 1, len(judges), "judges")
    ratings: dict[tuple[Aspect, str], list[int | None]] = dict(zip(known, state["ratings"], strict=True))
    return gathered(answers, ratings), known


def _write(
    work: Draft,
    rated: Sequence[Rated],
    rows: Sequence[Score],
    panel: Mapping[Aspect, str],
    nulls: frozenset[str],
    *,
    seed: int,
) -> None:
    """Ratings, score rows, and a picture of each concept as the first judge of the concept sees it."""
    lines = [
        {**asdict(row.answer), "ratings": {f"{aspect}: {name}": value for (aspect, name), value in row.ratings.items()}}
        for row in rated
    ]
    text = "".join(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n" for line in lines)
    write_atomic(work.path / RATINGS, text.encode())
    dose = dose_scores(rated, panel, seed=seed)
    write_scores(work.path, [*rows, *dose])
    curves: dict[str, dict[str, list[Dot]]] = {}
    for row in dose:
        name, _, rest = row.metric.partition(" of ")
        concept, _, factor = rest.rpartition(" at ")
        if name == SCORE:
            curves.setdefault(concept, {}).setdefault(row.subject, []).append(
                Dot(float(factor), row.value, row.low, row.high)
            )
    for concept, own in curves.items():
        drawn = chart(f"{concept}: score", own, nulls=nulls, x_title="strength, in typical norms of the hookpoint")
        write_atomic(work.path / f"chart-{concept}.svg", drawn.encode())
