"""Seconds of a training step, ours beside a dense reference and beside other tools, in one interleaved run.

.venv/bin/python benchmarks/train_speed.py --kinds topk --features 4608 16384   (`make peers` sets the other tools up)

Every contender is a process of its own, in its own environment; blocks of steps are taken in turn. Before that, ours
and the dense reference take the same steps from the same start, and the largest relative difference of their losses is
printed. Writes results.json, table.md and what the libraries said to --out, and prints the table.
"""

import contextlib
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from train.child import Child, python_of
from train.contender import CONTENDERS
from train.rounds import Record, interleave, largest_difference
from train.rows import write_rows
from train.table import REFERENCE, Run, markdown
from train.task import Kind, Task

from bathyscope import runtime


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What is timed."""

    kinds: tuple[Kind, ...] = ("topk",)
    """Kinds of dictionary; l1 is ReLU with an L1 penalty."""
    features: tuple[int, ...] = (4608, 16384)
    """Sizes F of the dictionaries."""
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    """Who takes part; those whose environment is missing, or who lack a kind, are left out with a line."""
    d_model: int = 576
    """D, where activations are made; those that are read have their own width."""
    batch: int = 4096
    """Tokens per step."""
    k: int = 32
    """Features per token of topk and batchtopk."""
    l0: int = 100
    """Features per token at which l1 and jumprelu are timed (ours and the dense reference; the time of others, which
    make dense matrices throughout, does not depend on it)."""
    rounds: int = 7
    """Blocks of each contender."""
    steps: int = 2
    """Steps of a block."""
    warm_up: int = 3
    """Steps of each before the first block."""
    check_steps: int = 200
    """Steps over which losses are compared with the reference; 0 leaves the comparison out."""
    activations: str | None = None
    """Folder of activations, or a safetensors file with one tensor [N, D]; None makes sparse ones from the seed."""
    batches: int = 8
    """Different batches; they are taken in turn."""
    threads: int = 2
    """Threads of each contender."""
    keep_freed: bool = False
    """Whether the other tools' allocators are set as ours is (glibc keeps freed memory); by default they run as they
    come."""
    seed: int = 0
    """Seed of activations and weights."""
    out: Path = Path("runs/train-speed")
    """Folder for the results."""


def main(speed: Speed) -> int:
    """Time every kind at every size."""
    speed.out.mkdir(parents=True, exist_ok=True)
    rows = speed.out / "rows.safetensors"
    n = speed.batches * speed.batch
    d_model = write_rows(rows, source=speed.activations, n=n, d_model=speed.d_model, seed=speed.seed).d_model
    runs: list[Run] = []
    for kind in speed.kinds:
        for n_features in speed.features:
            task = Task(
                kind=kind,
                d_model=d_model,
                n_features=n_features,
                k=speed.k,
                l0=speed.l0,
                batch=speed.batch,
                n_steps=speed.check_steps + speed.warm_up + speed.rounds * speed.steps,
                seed=speed.seed,
                rows=str(rows.resolve()),
                threads=speed.threads,
            )
            runs.append(time_all(speed, task))
            print(markdown(runs[-1]), flush=True)
            write(speed, runs)
    rows.unlink()
    return 0


def write(speed: Speed, runs: list[Run]) -> None:
    """What was found so far."""
    settings = {**dataclasses.asdict(speed), "out": speed.out.name}
    results = [{**dataclasses.asdict(run), "task": {**dataclasses.asdict(run.task), "rows": ""}} for run in runs]
    document = {"environment": runtime.environment(), "settings": settings, "runs": results}
    (speed.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (speed.out / "table.md").write_text("\n".join(map(markdown, runs)))


def time_all(speed: Speed, task: Task) -> Run:
    """What was seen of each contender, and how far each of our losses was from the reference's."""
    with contextlib.ExitStack() as stack:
        children: list[Child] = []
        records: dict[str, Record] = {}
        for name in present(speed, task.kind):
            log = speed.out / f"{name.replace(', ', '-').replace(' ', '-')}.log"
            keeps = speed.keep_freed and CONTENDERS[name].package is not None
            child = stack.enter_context(Child(name, log=log, threads=task.threads, keeps_freed=keeps))
            told = child.build(task)
            records[name] = Record(versions=told["versions"], settings=told["settings"])
            children.append(child)
        differences = compare_losses(children, records, speed.check_steps)
        interleave(children, records, rounds=speed.rounds, steps=speed.steps, warm_up=speed.warm_up)
    return Run(
        task=task,
        rounds=speed.rounds,
        steps=speed.steps,
        check_steps=speed.check_steps,
        records=records,
        differences=differences,
    )


def present(speed: Speed, kind: Kind) -> list[str]:
    """Contenders that have this kind and are set up; a line for each that is left out."""
    found: list[str] = []
    for name in speed.contenders:
        if name not in CONTENDERS:
            sys.exit(f"error: no contender {name!r}; expected some of {', '.join(map(repr, CONTENDERS))}")
        if kind not in CONTENDERS[name].kinds:
            print(f"{name} has no {kind}", file=sys.stderr)
        elif python_of(name) is None:
            print(f"{name} is left out: run `make peers` to set it up", file=sys.stderr)
        else:
            found.append(name)
    return found


def compare_losses(children: list[Child], records: dict[str, Record], n_steps: int) -> dict[str, float]:
    """Largest relative difference of each of our curves to that of the reference, over `n_steps` from one start."""
    by_name = {child.name: child for child in children}
    if REFERENCE not in by_name or not n_steps:
        return {}
    curves: dict[str, list[float]] = {}
    for name, child in by_name.items():
        if name == REFERENCE or CONTENDERS[name].module == "ours":
            answer = child.steps(n_steps)
            records[name].take(answer)
            curves[name] = answer["losses"]
    reference = curves.pop(REFERENCE)
    return {name: largest_difference(losses, reference) for name, losses in curves.items()}


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Speed)))
