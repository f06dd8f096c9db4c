"""`bench_risk`: every estimator on every event of worlds whose truth is known, at one budget.

Each (world, estimator) is a folder of estimates of its own, found again after a break; `scores` holds the report.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.scores import Score, read_scores, write_scores
from bathyscope.evaluation.side_by_side import side_by_side
from bathyscope.files import write_atomic
from bathyscope.risk.bench.dictionaries import world_dictionaries
from bathyscope.risk.bench.methods import EACH, FEATURES, ONE_PASS
from bathyscope.risk.bench.settings import ENUMERATED, WIDE, RiskBench
from bathyscope.risk.bench.table import score_rows, table
from bathyscope.risk.bench.unbiased import Repeats, unbiased
from bathyscope.risk.bench.unit import Unit, run_unit
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.estimates import read_estimates
from bathyscope.risk.scoring.scatter import scatter
from bathyscope.risk.worlds.enumerated import make_enumerated
from bathyscope.risk.worlds.truth import read_truth
from bathyscope.risk.worlds.wide import STORED

TABLE = "table.md"
SCORES = "scores"


def bench_risk(settings: RiskBench, *, out: Path) -> list[Score]:
    """Score rows of every estimator in every world; `out`/scores also has `table.md` and a picture of each world.

    Raises ConfigError for unknown methods and for a world without events in the range.
    """
    names = _names(settings)
    units: dict[str, list[Unit]] = {}
    for world in settings.worlds:
        units[world] = list(_units(world, names, settings, out))
    work = [unit for own in units.values() for unit in own]
    for _ in side_by_side(run_unit, work, stage="risk", n_workers=settings.n_workers):
        pass
    repeats = list(_repeats(units, settings))
    recipe = Recipe(
        kind="scores",
        config=settings,
        seed=settings.seed,
        parents={f"{unit.out.parent.name}/{unit.out.name}": unit.out for unit in work},
    )
    if not artifacts.is_finished(out / SCORES, recipe):
        with artifacts.draft(out / SCORES, recipe) as draft:
            reports = {world: _gathered(own) for world, own in units.items()}
            rows = [row for world, report in reports.items() for row in score_rows(world, *report)]
            write_scores(draft.path, rows)
            for world, (truths, methods) in reports.items():
                write_atomic(draft.path / f"{world}.svg", scatter(truths, methods).encode())
            write_atomic(draft.path / TABLE, table(reports, repeats, settings).encode())
    return read_scores(out / SCORES)


def _names(settings: RiskBench) -> list[str]:
    known = [*ONE_PASS, *FEATURES, *EACH]
    strange = [name for name in settings.methods if name not in known]
    if strange:
        raise ConfigError(f"no estimator is called {strange[0]!r}; there are: {', '.join(known)}")
    return [name for name in known if not settings.methods or name in settings.methods]


def _units(world: str, names: Sequence[str], settings: RiskBench, out: Path) -> Iterator[Unit]:
    """The longest first."""
    places = _places(world, settings, out)
    for name in reversed(names):
        for label, (model, truth) in places.items():
            tokens = _events(truth, settings)
            folders = world_dictionaries(model, truth, out=out / label / "dictionaries") if name in FEATURES else {}
            yield Unit(
                model=model,
                truth=truth,
                method=name,
                tokens=tokens,
                dictionaries={key: folder for key, folder in folders.items() if key == FEATURES.get(name)},
                forward=settings.forward,
                level=settings.level,
                seed=settings.seed,
                out=out / label / name.replace(" ", "-").replace(",", ""),
            )


def _places(world: str, settings: RiskBench, out: Path) -> dict[str, tuple[Path, Path]]:
    """Name → folders of network and truth of each law of a world."""
    if world == WIDE:
        return {WIDE: (STORED / "model", STORED / "truth")}
    own = out / "worlds"
    make_enumerated(settings.enumerated, out=own)
    return {f"{ENUMERATED}-{law}": (own / "model", own / f"truth-{law}") for law in range(settings.n_laws)}


def _events(truth: Path, settings: RiskBench) -> tuple[int, ...]:
    """At most so many tokens, evenly spread over their order."""
    tokens = read_truth(truth)[0].events(settings.low, settings.high)
    if not tokens:
        raise ConfigError(f"no event of {truth} lies between {settings.low:g} and {settings.high:g}: widen the range")
    n = min(len(tokens), settings.most_events)
    return tuple(tokens[math.floor(number * len(tokens) / n)] for number in range(n))


def _gathered(units: Sequence[Unit]) -> tuple[list[float], dict[str, list[Estimate]]]:
    """Truths, and for each method its estimates in the same order."""
    by_method: dict[str, list[Estimate]] = {}
    truths: dict[str, list[float]] = {}
    for unit in units:
        truth, _ = read_truth(unit.truth)
        by_method.setdefault(unit.method, []).extend(read_estimates(unit.out))
        truths.setdefault(unit.method, []).extend(truth[token] for token in unit.tokens)
    ordered = dict(reversed(by_method.items()))
    return next(iter(truths.values())), ordered


def _repeats(units: Mapping[str, Sequence[Unit]], settings: RiskBench) -> Iterator[Repeats]:
    """The likeliest event of the first law of the enumerated worlds, asked again and again."""
    if settings.n_unbiased == 0 or ENUMERATED not in units:
        return
    wanted = [unit for unit in units[ENUMERATED] if unit.out.parent.name.endswith("-0")]
    for unit in wanted:
        if unit.method in ("naive", "ITGIS"):
            yield unbiased(unit, settings.n_unbiased)
