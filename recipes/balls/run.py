"""Balls: learn from pairs of images what the factors of a scene are, and move one learnt latent to see one ball move.

    .venv/bin/python recipes/balls/run.py            # minutes on two cores
    .venv/bin/python recipes/balls/run.py --small    # smaller images, fewer steps

Writes `runs/recipes/balls` (encoders, `scores` with every figure, `axes.png`) and compares with `expected.json`.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from bathyscope import artifacts
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.collapse import collapse
from bathyscope.dictionaries.image_encoder import ImageEncoder, ImageEncoderSettings
from bathyscope.dictionaries.paired import (
    KnownTargets,
    Objective,
    PairedEncoder,
    PairedSettings,
    SparseChange,
    train_paired,
)
from bathyscope.evaluation.axes import walk
from bathyscope.evaluation.correlation_match import block_r2, match_factors
from bathyscope.evaluation.expected import outside, read_expected
from bathyscope.evaluation.intervals import Interval, over_runs
from bathyscope.evaluation.pictures import tiled, write_png
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.worlds.balls import Balls, BallSettings, Told

HERE = Path(__file__).parent
PICTURE = "axes.png"
MANY_BALLS = 4
"""From so many balls on, several starts are tried."""
TEST_SEED = 1_000_003
"""Test images: their draws come from another seed than any training step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table."""

    name: str
    """What the row is called."""
    balls: BallSettings
    """The world."""
    objective: Objective | None
    """How the code is learnt; None leaves the encoder at its random start."""
    told: Told = "target and sign"
    """What the learner is told of a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BallsRecipeSettings:
    """Settings of the recipe."""

    size: int = 64
    """Pixels of an image's side."""
    radius: float = 0.04
    """Radius of a ball, in image widths."""
    further_size: int = 32
    """Pixels of an image's side in the rows after the first ones; balls have as many pixels as before."""
    known_balls: tuple[int, ...] = (2, 3, 4)
    """Numbers of balls for the objective with known targets."""
    has_failures: bool = True
    """Whether the rows that must fail, hues and blocks are measured too."""
    n_steps: int = 600
    """Steps for known targets."""
    n_sparse_steps: int = 600
    """Steps for unknown targets."""
    n_starts: int = 3
    """Start weights that are tried for known targets of four balls or more, where one may fail; the loss chooses."""
    batch_size: int = 64
    """Pairs per step."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of starts, guesses and training images."""
    n_test: int = 2000
    """Test images."""
    encoder: ImageEncoderSettings = field(default_factory=ImageEncoderSettings)
    """Sizes of the encoder; the number of latents is that of the factors."""


SMALL = BallsRecipeSettings(
    size=24,
    radius=0.1,
    known_balls=(2,),
    has_failures=False,
    n_steps=200,
    n_sparse_steps=150,
    n_starts=1,
    batch_size=32,
    seeds=(0, 1),
    n_test=500,
)


def cases(settings: BallsRecipeSettings) -> list[Case]:
    """Every row."""
    balls = {n: BallSettings(n_balls=n, size=settings.size, radius=settings.radius) for n in (2, 3, 4)}
    rows = [
        Case(name=f"known target, {n} balls", balls=balls[n], objective=KnownTargets()) for n in settings.known_balls
    ]
    rows += [Case(name=f"untrained encoder, {n} balls", balls=balls[n], objective=None) for n in settings.known_balls]
    rows.append(
        Case(name="unknown target, contrast, 2 balls", balls=balls[2], objective=SparseChange(), told="nothing")
    )
    if not settings.has_failures:
        return rows
    radius = settings.radius * settings.size / settings.further_size
    further = {n: BallSettings(n_balls=n, size=settings.further_size, radius=radius) for n in (2, 3)}
    return [*rows, *_further(further)]


def _further(balls: dict[int, BallSettings]) -> Iterator[Case]:
    """Blocks and hues, and what must fail."""
    two = balls[2]
    disjoint, overlapping = (dataclasses.replace(two, blocks=blocks) for blocks in ("disjoint", "overlapping"))
    hue = dataclasses.replace(two, has_hue=True)
    yield Case(name="known target, disjoint blocks, 2 balls", balls=disjoint, objective=KnownTargets())
    yield Case(name="known target, overlapping blocks, 2 balls", balls=overlapping, objective=KnownTargets())
    yield Case(name="known target, hue, 2 balls", balls=hue, objective=KnownTargets())
    yield Case(name="known target, sign withheld, 2 balls", balls=two, objective=KnownTargets(), told="target")
    sparse = {
        "contrast, 3 balls": (balls[3], SparseChange()),
        "contrast, disjoint blocks, 2 balls": (disjoint, SparseChange()),
        "contrast, λ = 0, 2 balls": (two, SparseChange(weight=0.0)),
        "reconstruction, 2 balls": (two, SparseChange(against="reconstruction")),
        "nothing against collapse, 2 balls": (two, SparseChange(against="nothing")),
        "nothing, free variance, 2 balls": (two, SparseChange(against="nothing", unit_variance=False)),
    }
    for name, (world, objective) in sparse.items():
        yield Case(name=f"unknown target, {name}", balls=world, objective=objective, told="nothing")


def measure(settings: BallsRecipeSettings, out: Path) -> list[Score]:
    """Every figure, also written to `out/scores`; resumes after the last finished encoder."""
    recipe = Recipe(kind="scores", config=settings, seed=settings.seeds[0])
    if not artifacts.is_finished(out / "scores", recipe):
        with artifacts.draft(out / "scores", recipe) as work:
            rows = list(_rows(_figures(settings, out, work)))
            images_RKCHW, share = axes(settings, out)
            single = Interval(value=share, low=-np.inf, high=np.inf, n=1)
            rows.append(
                score(cases(settings)[0].name, "least share of one factor", single, unit="encoders", split="walks")
            )
            write_scores(work.path, rows)
            write_png(work.path / PICTURE, tiled(images_RKCHW, zoom=2))
    return read_scores(out / "scores")


def _figures(settings: BallsRecipeSettings, out: Path, work: Draft) -> dict[str, dict[str, list[float]]]:
    """Case → figure → value of each seed."""
    state = work.state() or {}
    for case in cases(settings):
        for seed in settings.seeds:
            if str(seed) in state.setdefault(case.name, {}):
                continue
            encoder = learnt(case, settings, seed=seed, out=out)
            state[case.name][str(seed)] = one_run(case, encoder, settings)
            work.checkpoint(state)
            print(f"  {case.name}, seed {seed}: mcc {state[case.name][str(seed)]['mcc']:.4f}", flush=True)
    return {
        name: {figure: [run[figure] for run in runs.values()] for figure in next(iter(runs.values()))}
        for name, runs in state.items()
    }


def learnt(case: Case, settings: BallsRecipeSettings, *, seed: int, out: Path) -> PairedEncoder:
    """The encoder of one case and seed, from its folder or made there."""
    sizes = dataclasses.replace(settings.encoder, n_latents=case.balls.n_factors)
    if case.objective is None:
        network = ImageEncoder(sizes, generator=torch.Generator().manual_seed(seed))
        return PairedEncoder(network=network.eval(), settings=PairedSettings(encoder=sizes, seed=seed))
    is_known = isinstance(case.objective, KnownTargets)
    how = PairedSettings(
        objective=case.objective,
        encoder=sizes,
        n_steps=settings.n_steps if is_known else settings.n_sparse_steps,
        n_starts=settings.n_starts if is_known and case.balls.n_balls >= MANY_BALLS else 1,
        seed=seed,
    )
    source = Balls(case.balls).batches(settings.batch_size, seed=seed, told=case.told)
    folder = "".join(letter if letter.isalnum() else "-" for letter in case.name)
    return train_paired(source, how, out=out / f"{folder}-seed-{seed}")


def one_run(case: Case, encoder: PairedEncoder, settings: BallsRecipeSettings) -> dict[str, float]:
    """Figures on test images."""
    test = Balls(case.balls).pairs(settings.n_test, seed=TEST_SEED)
    codes_NZ = encoder.encode(test.before_PCHW)
    match, left = match_factors(codes_NZ, test.factors_PZ), collapse(codes_NZ)
    found = {
        "mcc": match.mcc,
        "linear R²": match.linear_r2,
        "effective rank": left.effective_rank,
        "latents lost": float(left.n_silent + left.n_copies),
        "spread": left.spread,
    }
    if case.told != "nothing":
        found["block R²"] = block_r2(codes_NZ, test.factors_PZ, by_ball(case.balls))
    return {name: round(value, 9) for name, value in found.items()}


def by_ball(balls: BallSettings) -> tuple[tuple[int, ...], ...]:
    """The factors of each ball."""
    return dataclasses.replace(balls, blocks="disjoint").block_factors


def _rows(found: dict[str, dict[str, list[float]]]) -> Iterator[Score]:
    """Mean and interval over seeds."""
    for name, figures in found.items():
        for figure, values in figures.items():
            yield score(name, figure, over_runs(values), unit="seeds", split="test images")


def axes(settings: BallsRecipeSettings, out: Path) -> tuple[torch.Tensor, float]:
    """Images [R, K, C, H, W] along every latent of the first case's first encoder, and how much one factor moves."""
    case = cases(settings)[0]
    encoder, world = learnt(case, settings, seed=settings.seeds[0], out=out), Balls(case.balls)
    middle_Z = world.factors(1, generator=torch.Generator().manual_seed(TEST_SEED))[0] * 0.5 + 0.25
    spread_Z = encoder.encode(world.pairs(256, seed=TEST_SEED).before_PCHW).std(0)
    walks = [
        walk(encoder.network, world.render, middle_Z, latent=z, distances_K=torch.linspace(-1, 1, 5) * spread_Z[z])
        for z in range(len(middle_Z))
    ]
    images = torch.stack([world.render(each.factors_KZ) for each in walks])
    return images, min(each.share_of_largest for each in walks)


def main() -> int:
    """Run, tell the story, compare; 1 when a figure is outside its range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="smaller images and fewer steps")
    parser.add_argument("--out", type=Path, default=None, help="folder to write")
    given = parser.parse_args()
    size = "small" if given.small else "full"
    out = given.out or Path("runs/recipes") / ("balls-small" if given.small else "balls")
    rows = measure(SMALL if given.small else BallsRecipeSettings(), out)
    for each in rows:
        interval = f"[{each.low:.4f}, {each.high:.4f}]" if np.isfinite(each.low) else ""
        print(f"{each.subject:55} {each.metric:16} {each.value:8.4f} {interval}")
    print(f"{out / 'scores' / PICTURE}: one row for each learnt latent, five places along it")
    wrong = outside(figures(rows), read_expected(HERE / "expected.json", size))
    print("\n".join(wrong) or "every figure is within its expected range")
    return int(bool(wrong))


def figures(rows: list[Score]) -> dict[str, float]:
    """`subject · metric` → value."""
    return {f"{each.subject} · {each.metric}": each.value for each in rows}


if __name__ == "__main__":
    sys.exit(main())
