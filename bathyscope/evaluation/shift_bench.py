"""The shifts bench: pairs whose concepts are known, the whole procedure, and controls that must fail, over seeds.

Nothing of the truth reaches the learner: the bound comes from the β-path, the restart from its L1. MCC is measured on
fresh pairs. A folder of kind `scores`: `scores.jsonl` and `table.md`.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.config import to_json
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ConfigError
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.identifiability.learnings import examine, random_encoder, without_bound
from bathyscope.evaluation.identifiability.matching import block_mcc, match_concepts
from bathyscope.evaluation.identifiability.report import blocks_of
from bathyscope.evaluation.identifiability.settings import IdentifiabilitySettings, as_support
from bathyscope.evaluation.identifiability.supports import SupportReport, support_report
from bathyscope.evaluation.intervals import over_runs
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.side_by_side import side_by_side
from bathyscope.evaluation.worlds.shifts import ShiftSample, ShiftWorld, ShiftWorldSettings
from bathyscope.files import write_atomic

TABLE = "table.md"
DIGITS = 6
"""Figures are rounded to so many digits, so that a different order of additions does not show in the files."""
OURS, FREE, RANDOM, ORACLE = "β-path", "without a bound", "random encoder", "linear oracle"
"""The oracle is the best linear readout of the true changes: no linear encoder can do better, whatever it learnt."""
VARIANTS: dict[str, dict[str, Any]] = {
    "β-path, plain metric": {"metric": "plain"},
    "β-path, tied start": {"start": "tied"},
    "β-path, lengths as they are": {"alike": False},
    "β-path, all three": {"metric": "plain", "start": "tied", "alike": False},
}
"""What is changed of the settings to see what makes the difference; all three together are the paper's."""
FIGURES = ("mcc", "least", "block mcc", "mean square explained", "β / true L1", "agreement", "real columns")
"""`least`: the worst matched concept. `β / true L1`: L1 of the codes found over that of the true changes, in the same
metric; the learner never sees the latter. `agreement`: of restarts. `real columns`: share called real."""

Figures = dict[str, float]
"""Name of a figure → value, of one subject in one world and seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftCase:
    """One world of the bench, and what is learnt from it."""

    world: ShiftWorldSettings
    """The world."""
    n_features: int | None = None
    """Columns; None is as many as there are concepts."""
    with_variants: bool = False
    """Whether the paper's metric and start are run too, alone and together."""
    with_evidence: bool = True
    """Whether columns are tested on halves."""


CASES = {
    "30 concepts": ShiftCase(world=ShiftWorldSettings(), with_variants=True),
    "dense": ShiftCase(world=ShiftWorldSettings(n_concepts=10, d_model=32, max_changed=3, supports="dense")),
    "square": ShiftCase(world=ShiftWorldSettings(n_concepts=10, d_model=10, max_changed=3), with_variants=True),
    "square, one sign": ShiftCase(
        world=ShiftWorldSettings(n_concepts=10, d_model=10, max_changed=3, law="uniform"), with_variants=True
    ),
    "100 concepts": ShiftCase(world=ShiftWorldSettings(n_concepts=100, d_model=256), with_evidence=False),
    "grouped": ShiftCase(world=ShiftWorldSettings(supports="grouped")),
    "two by two": ShiftCase(world=ShiftWorldSettings(supports="together", max_changed=6)),
    "noise": ShiftCase(world=ShiftWorldSettings(noise=0.3)),
    "too many columns": ShiftCase(world=ShiftWorldSettings(noise=0.1), n_features=40),
    "too few columns": ShiftCase(world=ShiftWorldSettings(noise=0.1), n_features=20),
}
"""Every world of the bench by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftBench:
    """Settings of `bench_shifts`."""

    cases: tuple[str, ...] = ()
    """Which worlds; none means all of them."""
    n_pairs: int = 20_000
    """Pairs that are learnt from."""
    test_pairs: int = 10_000
    """Fresh pairs that MCC is measured on."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of world, pairs and starts."""
    n_restarts: int = 3
    """Restarts of each learning."""
    n_steps: int = 300
    """Steps at each bound."""
    free_steps: int = 2000
    """Steps of the control without a bound."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.cases if name not in CASES]
        if unknown:
            raise ConfigError(f"no world named {unknown[0]!r}; expected some of: {', '.join(CASES)}")
        if min(self.n_pairs, self.test_pairs, self.n_restarts, self.n_steps, self.free_steps) < 1 or not self.seeds:
            raise ConfigError(
                "n_pairs, test_pairs, n_restarts, n_steps and free_steps are at least 1, seeds at least one"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds {self.seeds} repeat: the same run twice is no second run")


def bench_shifts(settings: ShiftBench, *, out: Path) -> list[Score]:
    """Score rows of every world and subject, also written to `out`; resumes after the last finished world and seed."""
    require_science("the shifts bench")
    recipe = Recipe(kind="scores", config={"bench": settings, "cases": _asked(settings)}, seed=settings.seeds[0])
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            state = work.state() or {"runs": {}}
            runs = [_Run(settings, name, seed) for name in _asked(settings) for seed in settings.seeds]
            left = [run for run in runs if _key(run) not in state["runs"]]
            for run, figures in side_by_side(_one, left, stage="bench"):
                state["runs"][_key(run)] = figures
                work.checkpoint(state)
            found = {_key(run): state["runs"][_key(run)] for run in runs}
            rows = _scores(settings, found)
            write_scores(work.path, rows)
            write_atomic(work.path / TABLE, table(rows, settings, _verdicts(settings)).encode())
    return read_scores(out)


class _Run(NamedTuple):
    """One world and seed."""

    settings: ShiftBench
    case: str
    seed: int


def _asked(settings: ShiftBench) -> dict[str, ShiftCase]:
    return {name: CASES[name] for name in settings.cases or CASES}


def _key(run: _Run) -> str:
    return f"{run.case} · {run.seed}"


def _one(run: _Run) -> dict[str, Figures]:
    """Figures of every subject of a world."""
    settings, case = run.settings, CASES[run.case]
    world = ShiftWorld(case.world, seed=run.seed)
    train, test = (
        world.sample(settings.n_pairs, seed=2 * run.seed),
        world.sample(settings.test_pairs, seed=2 * run.seed + 1),
    )
    supports = support_report(as_support(train.changes_PC))
    shifts = _learning(settings, case, run.seed)
    test_settings = IdentifiabilitySettings(shifts=shifts, free_steps=settings.free_steps, test_seed=run.seed)
    ours = learn_shifts(train.shifts_PD, shifts)
    found = {OURS: _figures(ours, test, supports, world)}
    if case.with_evidence:
        columns = examine(train.shifts_PD, test_settings, whole=ours).columns
        found[OURS]["real columns"] = sum(column.is_real for column in columns) / shifts.n_features
    for name, changes in VARIANTS.items() if case.with_variants else ():
        variant = dataclasses.replace(shifts, **changes)
        found[name] = _figures(learn_shifts(train.shifts_PD, variant), test, supports, world)
    found[FREE] = _figures(without_bound(train.shifts_PD, test_settings, number=0), test, supports, world)
    codes_PF = random_encoder(ours, test.shifts_PD, seed=run.seed)
    found[RANDOM] = _matched(codes_PF, test.changes_PC, supports)
    found[ORACLE] = _matched(linear_readout(train, test.shifts_PD), test.changes_PC, supports)
    return {
        subject: {name: round(value, DIGITS) for name, value in figures.items() if not math.isnan(value)}
        for subject, figures in found.items()
    }


def _learning(settings: ShiftBench, case: ShiftCase, seed: int) -> ShiftSettings:
    shifts = ShiftSettings(
        n_features=case.n_features or case.world.n_concepts, n_restarts=settings.n_restarts, seed=seed
    )
    return dataclasses.replace(shifts, ascent=dataclasses.replace(shifts.ascent, n_steps=settings.n_steps))


def _figures(dictionary: Dictionary, test: ShiftSample, supports: SupportReport, world: ShiftWorld) -> Figures:
    codes_PF = dictionary.pre(test.shifts_PD)
    left_PD = test.shifts_PD - codes_PF @ dictionary.W_dec - dictionary.b_dec
    explained = 1 - float(left_PD.double().square().sum() / test.shifts_PD.double().square().sum())
    agreement = dictionary.training["agreement_of_restarts"]
    length_C = world.directions_CD.norm(dim=1)
    return {
        **_matched(codes_PF, test.changes_PC, supports),
        "mean square explained": explained,
        "β / true L1": mean_l1(codes_PF) / mean_l1(test.changes_PC * length_C),
        "agreement": math.nan if agreement is None else agreement,
    }


def linear_readout(train: ShiftSample, shifts_PD: Float[Tensor, "P D"]) -> Float[Tensor, "P C"]:
    """Changes as the least-squares fit on `train` reads them from other shifts."""
    readout_DC = torch.linalg.lstsq(train.shifts_PD.double(), train.changes_PC.double(), driver="gelsd").solution
    return (shifts_PD.double() @ readout_DC).float()


def mean_l1(codes_PC: Float[Tensor, "P C"]) -> float:
    """Mean over pairs of Σ_c |code|."""
    return float(codes_PC.double().abs().sum(1).mean())


def _matched(codes_PF: Tensor, changes_PC: Tensor, supports: SupportReport) -> Figures:
    matching = match_concepts(codes_PF, changes_PC)
    n = min(codes_PF.shape[1], changes_PC.shape[1])
    figures = {"mcc": matching.mcc, "least": float(sorted(matching.correlation_C)[-n])}
    blocks = blocks_of(supports, changes_PC.shape[1])
    if 1 < len(blocks) < changes_PC.shape[1]:
        figures["block mcc"] = float(block_mcc(codes_PF, changes_PC, blocks).mean())
    return figures


def _verdicts(settings: ShiftBench) -> dict[str, str]:
    """What the supports of each world say before anything is learnt (first seed)."""
    found: dict[str, str] = {}
    for name, case in _asked(settings).items():
        sample = ShiftWorld(case.world, seed=settings.seeds[0]).sample(settings.n_pairs, seed=2 * settings.seeds[0])
        found[name] = support_report(as_support(sample.changes_PC)).verdict
    return found


def _scores(settings: ShiftBench, runs: Mapping[str, Mapping[str, Figures]]) -> list[Score]:
    """Mean and interval over seeds."""
    rows: list[Score] = []
    for case in _asked(settings):
        seeds = [runs[_key(_Run(settings, case, seed))] for seed in settings.seeds]
        for subject in seeds[0]:
            for figure in FIGURES:
                values = [each[subject][figure] for each in seeds if figure in each[subject]]
                if values:
                    rows.append(
                        score(f"{case}: {subject}", figure, over_runs(values), unit="seeds", split="fresh pairs")
                    )
    return rows


def table(rows: Iterable[Score], settings: ShiftBench, verdicts: Mapping[str, str]) -> str:
    """The rows as Markdown, one world after the other with its verdict from the supports."""
    found = {(row.subject, row.metric): row for row in rows}
    subjects = list(dict.fromkeys(subject for subject, _ in found))
    about = (
        f"{settings.n_pairs:,} pairs, seeds {', '.join(map(str, settings.seeds))}, {settings.n_restarts} restarts. "
        "Mean ± half the 95 % interval over seeds, on fresh pairs. The verdict is the supports' before training."
    )
    head = [
        about,
        "",
        f"| world | before training | learnt | {' | '.join(FIGURES)} |",
        "|" + "---|" * (3 + len(FIGURES)),
    ]
    return "\n".join([*head, *_body(subjects, found, verdicts), "", *_worlds(settings)]) + "\n"


def _body(
    subjects: Sequence[str], found: Mapping[tuple[str, str], Score], verdicts: Mapping[str, str]
) -> Iterator[str]:
    for subject in subjects:
        case, _, learnt = subject.partition(": ")
        cells = [_cell(found.get((subject, figure))) for figure in FIGURES]
        yield f"| {case} | {verdicts[case]} | {learnt} | {' | '.join(cells)} |"


def _worlds(settings: ShiftBench) -> Iterator[str]:
    yield "Worlds:"
    yield ""
    for name, case in _asked(settings).items():
        given = {key: value for key, value in to_json(case.world).items() if key != "kind"}
        columns = "" if case.n_features is None else f", {case.n_features} columns"
        yield f"- {name}: " + ", ".join(f"{key} {value}" for key, value in given.items()) + columns


def _cell(row: Score | None) -> str:
    """A figure with its interval; a dash where it does not apply."""
    if row is None:
        return "–"
    half = f" ± {(row.high - row.low) / 2:.3f}" if math.isfinite(row.low) else ""
    return f"{row.value:.3f}{half}"
