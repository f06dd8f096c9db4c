"""The recovery bench: every kind on a world whose truth is known, beside its frozen-random null, over several seeds.

All entrants of a seed learn from one stream of activations. A folder of kind `scores`: `scores.jsonl` and `table.md`.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.config import to_json
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.job import require_device
from bathyscope.dictionaries.train import TrainSettings
from bathyscope.dictionaries.train_many import MemberSettings, train_many
from bathyscope.errors import ConfigError
from bathyscope.evaluation.entrants import NULL, chosen
from bathyscope.evaluation.intervals import over_runs
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.recovery import FIGURES, recoveries
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.side_by_side import side_by_side
from bathyscope.evaluation.worlds.oracle import linear_oracle
from bathyscope.evaluation.worlds.settings import WORLDS
from bathyscope.evaluation.worlds.world import World, own_seed
from bathyscope.files import write_atomic

TABLE = "table.md"
DIGITS = 9
"""Figures are rounded to so many, so that a different order of additions does not show in the files."""
ORACLE, RANDOM = "linear oracle", "random dictionary"
COLUMNS = (
    "f1",
    "mcc",
    "uniqueness",
    "beyond_chance",
    "variance_explained",
    "l0",
    "absorption",
    "splitting",
    "hedging",
    "dead",
)
"""Figures of the table; precision and recall stand in `scores.jsonl` too."""

Figures = dict[str, float]
"""Name of a figure → value, of one dictionary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryBench:
    """Settings of `bench_recovery`."""

    world: Literal["reference", "crowded", "small", "synthsaebench-16k"] = "reference"
    """Which world, see `evaluation/worlds/settings.py`."""
    kinds: tuple[str, ...] = ()
    """Which kinds; none means all of them."""
    n_features: int = 512
    """Features of each dictionary: fewer than the world has, as on real models."""
    k: int | None = None
    """Active features per token; None takes how many of the n_features most frequent true ones fire at once."""
    n_tokens: int = 400_000
    """Activations that each dictionary learns from."""
    batch_size: int = 256
    """Activations per step."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the start weights and of the stream; the world stays the same."""
    nulls: bool = True
    """Whether each kind is also trained with its decoder held at its random start."""
    test_tokens: int = 20_000
    """Fresh activations that figures are taken on."""
    device: str = "cpu"
    """Where the arithmetic runs."""
    kept: Path | None = None
    """Folder in which the trained dictionaries are kept, so that a long run resumes within a seed."""

    def __post_init__(self) -> None:
        if min(self.n_features, self.n_tokens, self.batch_size, self.test_tokens) < 1 or not self.seeds:
            raise ConfigError("n_features, n_tokens, batch_size and test_tokens are at least 1, seeds at least one")
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds {self.seeds} repeat: the same run twice is no second run")
        if self.n_features > WORLDS[self.world].n_true:
            raise ConfigError(f"{self.n_features} features in a world of {WORLDS[self.world].n_true}: give fewer")
        chosen(self.kinds, n_features=self.n_features, k=self.k or 1, with_nulls=False)


SYNTH_SAE_BENCH = RecoveryBench(
    world="synthsaebench-16k",
    kinds=("matryoshka", "batchtopk", "jumprelu", "relu", "matchingpursuit"),
    n_features=4096,
    k=25,
    n_tokens=200_000_000,
    batch_size=1024,
    seeds=(0,),
    nulls=False,
    test_tokens=500_000,
    device="cuda",
    kept=Path("runs/bench/synthsaebench-16k-dictionaries"),
)
"""The setting of SynthSAEBench-16k, sized for a GPU."""


def bench_recovery(settings: RecoveryBench, *, out: Path) -> list[Score]:
    """Score rows of every entrant, null and ceiling, also written to `out`; resumes after the last finished seed."""
    require_device(settings.device)
    recipe = Recipe(kind="scores", config=dataclasses.replace(settings, kept=None), seed=settings.seeds[0])
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            state = work.state() or {"seeds": {}}
            left = [_Run(settings, seed) for seed in settings.seeds if str(seed) not in state["seeds"]]
            runs = side_by_side(_one_seed, left, stage="bench") if settings.device == "cpu" else _in_turn(left)
            for run, figures in runs:
                state["seeds"][str(run.seed)] = figures
                work.checkpoint(state)
            rows = _scores([state["seeds"][str(seed)] for seed in settings.seeds])
            write_scores(work.path, rows)
            write_atomic(work.path / TABLE, table(rows, settings).encode())
    return read_scores(out)


def sparsity(settings: RecoveryBench, world: World) -> int:
    """k as given, or the mean number of the most frequent true features that fire at once."""
    return settings.k or max(1, round(float(world.frequencies_G[: settings.n_features].sum())))


class _Run(NamedTuple):
    """One seed's part."""

    settings: RecoveryBench
    seed: int


def _in_turn(runs: Sequence[_Run]) -> Iterator[tuple[_Run, dict[str, Figures]]]:
    """On an accelerator: one run after the other."""
    for run in runs:
        yield run, _one_seed(run)


def _one_seed(run: _Run) -> dict[str, Figures]:
    """Figures of every subject: entrants and nulls trained on one stream, and the ceiling."""
    settings, seed = run
    world = World(WORLDS[settings.world], device=settings.device)
    k = sparsity(settings, world)
    members = chosen(settings.kinds, n_features=settings.n_features, k=k, with_nulls=settings.nulls)
    stream = world.batches(settings.n_tokens, batch_size=settings.batch_size, seed=seed)
    made = train_many(
        stream,
        {name: MemberSettings(of=kind, seed=seed) for name, kind in members.items()},
        out=None if settings.kept is None else settings.kept / f"seed-{seed}",
        settings=TrainSettings(
            n_tokens=settings.n_tokens,
            batch_size=settings.batch_size,
            seed=seed,
            device=settings.device,
            survey_rows=0,
        ),
    )
    subjects = {name: dictionary.to(settings.device) for name, dictionary in made.items()}
    subjects |= _bounds(world, settings, next(iter(subjects.values())), k=k, seed=seed)
    found = recoveries(subjects, world, n_tokens=settings.test_tokens, seed=seed)
    return {
        name: {figure: round(value, DIGITS) for figure, value in dataclasses.asdict(figures).items()}
        for name, figures in found.items()
    }


def _bounds(world: World, settings: RecoveryBench, like: Dictionary, *, k: int, seed: int) -> dict[str, Dictionary]:
    """The ceiling of linear encoders, and what needs no learning."""
    generator = torch.Generator(world.device).manual_seed(own_seed("scale", seed))
    x_ND = world.sample(4096, generator=generator).x_ND
    return {
        ORACLE: linear_oracle(world, n_features=settings.n_features, seed=seed),
        RANDOM: random_dictionary(like.to("cpu"), x_ND.cpu(), k=k, seed=seed).to(settings.device),
    }


def _scores(seeds: Sequence[Mapping[str, Figures]]) -> list[Score]:
    """Mean and interval over the seeds in which a subject was trained (one that diverged is missing)."""
    rows: list[Score] = []
    for subject in dict.fromkeys(name for figures in seeds for name in figures):
        for figure in FIGURES:
            values = [figures[subject][figure] for figures in seeds if subject in figures]
            known = [value for value in values if not math.isnan(value)]
            if known:
                rows.append(score(subject, figure, over_runs(known), unit="seeds", split="fresh activations"))
    return rows


def table(rows: Iterable[Score], settings: RecoveryBench) -> str:
    """The rows as Markdown: settings above, best F1 first, each kind's null in the line below it."""
    found = {(row.subject, row.metric): row for row in rows}
    subjects = dict.fromkeys(subject for subject, _ in found)
    leading = [subject for subject in subjects if not subject.endswith(f"-{NULL}")]
    leading.sort(key=lambda subject: -found[subject, "f1"].value)
    world = to_json(WORLDS[settings.world])
    about = (
        f"{settings.n_features} features, {settings.n_tokens:,} activations in batches of {settings.batch_size}, "
        f"seeds {', '.join(map(str, settings.seeds))}. Mean ± half the 95 % interval over seeds; `-{NULL}` is the same "
        "kind with its decoder held at its random start."
    )
    head = [
        f"World `{settings.world}`: " + ", ".join(f"{name} {value}" for name, value in world.items() if name != "kind"),
        "",
        about,
        "",
        f"| kind | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} |",
        "|" + "---|" * (1 + len(COLUMNS)),
    ]
    ordered = [name for subject in leading for name in (subject, f"{subject}-{NULL}") if name in subjects]
    body = [f"| {name} | {' | '.join(_cell(found.get((name, figure))) for figure in COLUMNS)} |" for name in ordered]
    return "\n".join([*head, *body]) + "\n"


def _cell(row: Score | None) -> str:
    """A figure with its interval; a dash where it was not defined in any seed."""
    if row is None:
        return "–"
    digits = 1 if row.metric == "l0" else 3
    half = f" ± {(row.high - row.low) / 2:.{digits}f}" if math.isfinite(row.low) else ""
    return f"{row.value:.{digits}f}{half}"
