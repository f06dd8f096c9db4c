"""Shifts: single concepts from pairs in which several change, on worlds whose truth is known and on sentences.

    .venv/bin/python recipes/shifts/run.py            # some ten minutes on two cores
    .venv/bin/python recipes/shifts/run.py --small    # one small world, no language model

Writes `runs/recipes/shifts` (worlds, pairs, dictionary, `scores` with every figure) and compares with `expected.json`.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bathyscope import artifacts
from bathyscope.activations.pairs.collect import PairSettings, collect_pairs
from bathyscope.activations.pairs.sets import pair_set
from bathyscope.activations.pairs.store import PairStore
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.shifts.learn import ShiftOrigin, learn_shifts
from bathyscope.dictionaries.shifts.pairs import of_length_one
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.evaluation.expected import outside, read_expected
from bathyscope.evaluation.intervals import bootstrap, by_document
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.shift_bench import ShiftBench, bench_shifts
from bathyscope.evaluation.single_changes.candidates import Candidates, at_random, learnt, mean_of, principal
from bathyscope.evaluation.single_changes.outputs import Divergence, divergence
from bathyscope.evaluation.single_changes.reach import choose, reach
from bathyscope.evaluation.single_changes.turned import SingleChange, single_changes
from bathyscope.models.load import load_model
from bathyscope.models.model import Model

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """The part with a language model."""

    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    hookpoint: str = "layers.15"
    """Where sentences are read and moved."""
    n_pairs: int = 1600
    """Pairs of sentences; two of four factors change in three of four."""
    n_columns: int = 8
    """Columns of the dictionary."""
    n_draws: int = 5
    """Draws of random columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftsRecipeSettings:
    """Settings of the recipe."""

    worlds: ShiftBench = field(default_factory=lambda: ShiftBench(cases=("30 concepts", "dense", "square")))
    """Worlds whose concepts are known."""
    sentences: Sentences | None = field(default_factory=Sentences)
    """None leaves the language model out."""
    seed: int = 0
    """Seed of pairs, halves, columns and the bootstrap."""


SMALL = ShiftsRecipeSettings(
    worlds=ShiftBench(cases=("square",), n_pairs=4000, test_pairs=2000, seeds=(0, 1), n_steps=100, free_steps=300),
    sentences=None,
)


def measure(settings: ShiftsRecipeSettings, out: Path) -> list[Score]:
    """Every figure, also written to `out/scores`; resumes after the last finished stage."""
    rows = bench_shifts(settings.worlds, out=out / "worlds")
    recipe = Recipe(kind="scores", config=settings, seed=settings.seed, parents={"worlds": out / "worlds"})
    if not artifacts.is_finished(out / "scores", recipe):
        with artifacts.draft(out / "scores", recipe) as work:
            if settings.sentences is not None:
                rows = [*rows, *sentence_rows(settings.sentences, out, seed=settings.seed)]
            write_scores(work.path, rows)
    return read_scores(out / "scores")


def sentence_rows(settings: Sentences, out: Path, *, seed: int) -> Iterator[Score]:
    """Columns from pairs in which two of language, gender, tense and quality change, tested where one does."""
    model = load_model(settings.model)
    store = collect_pairs(
        model,
        pair_set("quartet", n=settings.n_pairs, seed=seed),
        out=out / "pairs",
        hookpoint=settings.hookpoint,
        settings=PairSettings(position="mean"),
    )
    together_PD = changed_together(store, seed=seed)
    dictionary = learn_shifts(
        together_PD,
        ShiftSettings(n_features=settings.n_columns, seed=seed),
        out=out / "dictionary",
        origin=ShiftOrigin(
            hookpoint=settings.hookpoint,
            model_identity=store.model_identity,
            parents=store.parents,
            materials=store.materials,
        ),
    )
    ways = [
        learnt("ssae", dictionary.W_dec),
        principal(of_length_one(together_PD), settings.n_columns),
        at_random(settings.n_columns, store.d_model(), n_draws=settings.n_draws, seed=seed),
    ]
    for change in single_changes(store, hookpoint=settings.hookpoint, seed=seed):
        for way in (*ways, mean_of(change.choose.shifts_PD)):
            yield from way_rows(model, store, change, way, hookpoint=settings.hookpoint, seed=seed)


def changed_together(store: PairStore, *, seed: int) -> Tensor:
    """Shifts of the choosing half in which more than one factor changes: no single change is learnt from."""
    half = torch.from_numpy(store.halves(seed).choose)
    is_several_P = (torch.from_numpy(store.support)[half] == 1).sum(1) > 1
    return store.shifts()[half][is_several_P]


def way_rows(
    model: Model, store: PairStore, change: SingleChange, way: Candidates, *, hookpoint: str, seed: int
) -> Iterator[Score]:
    """Cosine with the shift, and the share of the divergence of next tokens that a step along the direction removes."""
    subject, groups_P = f"{way.name}, {change.concept}", change.report.groups_P
    cosine_P = reach(way, change).shift_P.numpy()
    steps = [choose(rows_CD, change.choose) for rows_CD in way.draws_RCD]
    found = [
        divergence(model, store, change.report, step.strength * step.direction_D, hookpoint=hookpoint) for step in steps
    ]
    mean = Divergence(found[0].plain_P, np.mean([each.moved_P for each in found], axis=0))
    for metric, up_P, of_P in (
        ("cosine with the shift", cosine_P, np.ones_like(cosine_P)),
        ("share of divergence removed", mean.plain_P - mean.moved_P, mean.plain_P),
    ):
        sums_GK = by_document(groups_P, np.stack([up_P, of_P], axis=1))
        interval = bootstrap(sums_GK, lambda total: total[..., 0] / total[..., 1], seed=seed)
        yield score(subject, metric, interval, unit="groups", split="report half")


def figures(rows: list[Score]) -> dict[str, float]:
    """`subject · metric` → value."""
    return {f"{each.subject} · {each.metric}": each.value for each in rows}


def main() -> int:
    """Run, tell the story, compare; 1 when a figure is outside its range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="one small world, no language model")
    parser.add_argument("--out", type=Path, default=None, help="folder to write")
    given = parser.parse_args()
    size = "small" if given.small else "full"
    out = given.out or Path("runs/recipes") / ("shifts-small" if given.small else "shifts")
    rows = measure(SMALL if given.small else ShiftsRecipeSettings(), out)
    for each in rows:
        interval = f"[{each.low:.3f}, {each.high:.3f}]" if np.isfinite(each.low) else ""
        print(f"{each.subject:55} {each.metric:30} {each.value:7.3f} {interval}")
    wrong = outside(figures(rows), read_expected(HERE / "expected.json", size))
    print("\n".join(wrong) or "every figure is within its expected range")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
