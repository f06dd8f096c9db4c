"""How good a TopK dictionary is after how many seconds: ours and other tools', each at its own defaults, on one set.

.venv/bin/python benchmarks/time_to_quality.py --activations runs/real/activations   (`make peers` sets the others up)

Contenders run after each other, each in a process and environment of its own, on the same shuffled rows in the same
order. Seconds are those of training steps alone; now and then the dictionary is handed over and scored on held-out rows
by one evaluator, ours. Writes results.json, table.md and curves.svg to --out, and prints the table.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from curves import curves
from train.child import Child, python_of
from train.contender import CONTENDERS
from train.quality import Exam, Figures
from train.rows import write_rows
from train.task import Task

from bathyscope import runtime
from bathyscope.activations.store import ActivationStore


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What is trained, and when it is looked at."""

    activations: Path = Path("runs/real/activations")
    """Folder of activations."""
    rows: int = 500_000
    """Training activations, shuffled once; they are gone through again and again in this order."""
    is_unit: bool = True
    """Whether activations are scaled to a mean squared length of D before anyone sees them. Ours and sparsify do not
    mind; the other tools' defaults are meant for activations that were scaled."""
    n_features: int = 4608
    """F, number of features."""
    k: int = 32
    """Features per token."""
    n_steps: int = 1024
    """Steps of the run."""
    batch: int = 2048
    """Tokens per step."""
    looks: tuple[int, ...] = (16, 32, 64, 128, 256, 384, 512, 640, 768, 896, 1024)
    """Steps after which the dictionary is scored; those beyond n_steps are left out, the last step is always there."""
    held_out: int = 20_000
    """Held-out activations for the variance unexplained, evenly spaced."""
    dead_rows: int = 100_000
    """Held-out activations, the same at all, on which a feature must fire once not to count as dead at the end."""
    contenders: tuple[str, ...] = tuple(
        name for name in CONTENDERS if name not in ("encoder product", "ours, plain torch")
    )
    """Who takes part, one after the other."""
    threads: int = 2
    """Threads of each contender."""
    keep_freed: bool = False
    """Whether the other tools' allocators are set as ours is."""
    seed: int = 0
    """Seed of the order of activations and of the weights."""
    out: Path = Path("runs/time-to-quality")
    """Folder for the results."""


@dataclass(slots=True, kw_only=True)
class Course:
    """One contender's run."""

    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    steps: list[int] = field(default_factory=list)
    """When it was looked at."""
    seconds: list[float] = field(default_factory=list)
    """Of training, up to then."""
    figures: list[Figures] = field(default_factory=list)
    """What was found."""


def main(quality: Quality) -> int:
    """Train and score everyone in turn."""
    quality.out.mkdir(parents=True, exist_ok=True)
    rows = quality.out / "rows.safetensors"
    source = {"source": str(quality.activations), "n": quality.rows, "seed": quality.seed}
    written = write_rows(rows, **source, d_model=0, is_unit=quality.is_unit)
    store = ActivationStore(quality.activations)
    exam = Exam(store, scale=written.scale, n_rows=quality.held_out, n_dead_rows=quality.dead_rows, k=quality.k)
    task = Task(
        kind="topk",
        d_model=written.d_model,
        n_features=quality.n_features,
        k=quality.k,
        l0=quality.k,
        batch=quality.batch,
        n_steps=quality.n_steps,
        seed=quality.seed,
        rows=str(rows.resolve()),
        threads=quality.threads,
    )
    courses: dict[str, Course] = {}
    for name in quality.contenders:
        if python_of(name) is None:
            print(f"{name} is left out: run `make peers` to set it up", file=sys.stderr)
            continue
        courses[name] = run(quality, name, task, exam)
        write(quality, courses)
        print(
            f"{name}: {courses[name].figures[-1].unexplained:.4f} after {courses[name].seconds[-1]:.1f} s", flush=True
        )
    print(table(quality, courses))
    rows.unlink()
    return 0


def run(quality: Quality, name: str, task: Task, exam: Exam) -> Course:
    """Train one contender and look at it now and then. A first step on a throw-away start loads what is loaded once."""
    file, log = quality.out / "weights.safetensors", quality.out / f"{name.replace(', ', '-').replace(' ', '-')}.log"
    keeps = quality.keep_freed and CONTENDERS[name].package is not None
    with Child(name, log=log, threads=task.threads, keeps_freed=keeps) as child:
        child.build(task)
        child.steps(1)
        told = child.build(task)
        course = Course(versions=told["versions"], settings=told["settings"])
        done, seconds = 0, 0.0
        for look in sorted({step for step in quality.looks if step < task.n_steps} | {task.n_steps}):
            seconds += child.steps(look - done)["seconds"]
            done = look
            child.weights(file)
            course.steps.append(done)
            course.seconds.append(seconds)
            course.figures.append(exam.figures(file, is_last=done == task.n_steps))
    file.unlink()
    return course


def write(quality: Quality, courses: Mapping[str, Course]) -> None:
    """What was found so far."""
    settings = {**dataclasses.asdict(quality), "out": quality.out.name, "activations": quality.activations.name}
    found = {name: dataclasses.asdict(course) for name, course in courses.items()}
    document = {"environment": runtime.environment(), "settings": settings, "courses": found}
    (quality.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (quality.out / "table.md").write_text(table(quality, courses))
    lines = {
        name: [(s, f.unexplained) for s, f in zip(course.seconds, course.figures, strict=True)]
        for name, course in courses.items()
    }
    title = f"TopK, {quality.n_features:,} features, k = {quality.k}, {quality.n_steps:,} steps of {quality.batch:,}"
    axes = {"x_title": "seconds of training", "y_title": "variance unexplained, held out"}
    (quality.out / "curves.svg").write_text(curves(title, lines, **axes))


def table(quality: Quality, courses: Mapping[str, Course]) -> str:
    """Markdown: where everyone ended, and when ours had got there."""
    heads = ("contender", "variance unexplained", "L0", "dead", "seconds", "ours got there after", "sooner", "version")
    what = (
        f"{quality.rows:,} activations, {quality.n_features:,} features, k = {quality.k}, {quality.n_steps:,} steps of "
        f"{quality.batch:,}, {quality.threads} threads. {quality.held_out:,} held-out activations; dead: silent on "
        f"{quality.dead_rows:,} held-out activations."
    )
    lines = [
        what,
        "",
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
    ]
    for name, course in courses.items():
        last, seconds = course.figures[-1], course.seconds[-1]
        reached = _reached(courses["ours"], last.unexplained) if "ours" in courses and name != "ours" else None
        then = ["", ""] if reached is None else [f"{reached:.1f} s", f"{seconds / reached:.1f}×"]
        version = f"{course.versions.get(CONTENDERS[name].package or 'bathyscope')}, torch {course.versions['torch']}"
        cells = [name, f"{last.unexplained:.4f}", f"{last.l0:.1f}", f"{last.dead_share:.2%}", f"{seconds:.1f}"]
        lines.append(f"| {' | '.join([*cells, *then, version])} |")
    settings = [f"- {name}: {json.dumps(course.settings)}" for name, course in courses.items()]
    return "\n".join([*lines, "", "Settings:", "", *settings, ""])


def _reached(course: Course, unexplained: float) -> float | None:
    """Seconds at the first look that was at least as good; None when none was."""
    found = zip(course.seconds, course.figures, strict=True)
    return next((seconds for seconds, figures in found if figures.unexplained <= unexplained), None)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Quality)))
