"""What `bathyscope plan` predicts for small real jobs on this machine, beside what they take.

    .venv/bin/python benchmarks/plan_check.py
    .venv/bin/python benchmarks/plan_check.py --activations runs/real/activations --rounds 3

SmolLM2 reads Python's own library; dictionaries learn from its activations, or from those of `--activations`; one of
them is indexed; one rare event is looked for by plain sampling. The machine is calibrated first. Each job is done
`--rounds` times and its median counts. Nothing is kept.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
import tyro

import bathyscope as bs
from bathyscope.models.model import Model
from bathyscope.planning.calibration import calibrate, calibration
from bathyscope.runtime import keep_freed_memory

Made = TypeVar("Made")
HOOKPOINT, CONTEXT, K = "layers.15", 128, 32
N_POSITIONS = 16
TARGET = 0.25
BASE = bs.PlanSettings(hookpoint=(HOOKPOINT,), context=CONTEXT, k=K)
"""What all jobs share."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How large the jobs are."""

    activations: Path | None = None
    """Stored activations of SmolLM2's layers.15 to train on and to index; without, those that are collected here."""
    collect_tokens: int = 24_576
    """Tokens to collect."""
    train_tokens: int = 131_072
    """Tokens to train each dictionary on, in epochs over the activations that there are."""
    forwards: int = 1024
    """Forwards of the risk estimate."""
    sizes: tuple[int, ...] = (4608, 16_384)
    """Features of the dictionaries; the first is indexed."""
    batch_size: int = 1024
    """Tokens of a step."""
    rounds: int = 3
    """Times that each job is done."""
    keep_calibration: bool = False
    """Take the calibration that there is."""


def main(check: Check) -> int:
    """Measure and print; exit code 1 when a prediction is off by more than a quarter."""
    keep_freed_memory()
    one = calibration() if check.keep_calibration else calibrate()
    print(f"calibrated in {one.seconds:.0f} s on {one.threads} threads\n")
    print("| stage | job | predicted s | actual s | predicted / actual |\n|---|---|---|---|---|")
    model = bs.load_model("smollm2")
    with tempfile.TemporaryDirectory() as folder:
        ratios = _all(check, model, Path(folder))
    worst = max(ratios, key=lambda ratio: abs(ratio - 1))
    print(f"\nfurthest from 1: {worst:.2f}; the target is {1 - TARGET:.2f} to {1 + TARGET:.2f}")
    return int(any(abs(ratio - 1) > TARGET for ratio in ratios))


def _all(check: Check, model: Model, folder: Path) -> list[float]:
    """Ratios of all jobs."""
    ratios: list[float] = []
    collected = _collect(check, model, folder, ratios)
    store = collected if check.activations is None else bs.ActivationStore(check.activations)
    batches = _batches(store, check)
    for n_features in check.sizes:
        _train(check, batches, n_features, folder, ratios)
    _index(check, model, store, folder, ratios)
    _risk(check, model, ratios)
    return ratios


def _collect(check: Check, model: Model, folder: Path, ratios: list[float]) -> bs.ActivationStore:
    def job(number: int) -> bs.ActivationStore:
        return bs.collect(
            model,
            "python:stdlib",
            out=folder / f"activations-{number}",
            hookpoint=HOOKPOINT,
            n_tokens=check.collect_tokens,
        )

    predicted = replace(BASE, tokens=check.collect_tokens, n_features=check.sizes[0])
    return _compare("collect", f"{check.collect_tokens:,} tokens", predicted, job, check.rounds, ratios)


def _train(check: Check, batches: list[torch.Tensor], n_features: int, folder: Path, ratios: list[float]) -> None:
    n_rows = sum(map(len, batches))
    epochs = max(1, check.train_tokens // n_rows)
    settings = bs.TrainSettings(n_tokens=epochs * n_rows, survey_rows=n_rows)

    def job(number: int) -> object:
        out = folder / f"dictionary-{n_features}-{number}"
        return bs.train(batches, bs.TopK(n_features=n_features, k=K), out=out, settings=settings)

    predicted = replace(BASE, tokens=n_rows, epochs=epochs, n_features=n_features, batch_size=check.batch_size)
    text = f"{n_features:,} features, {epochs * n_rows:,} tokens"
    _compare("train", text, predicted, job, check.rounds, ratios)


def _index(check: Check, model: Model, store: bs.ActivationStore, folder: Path, ratios: list[float]) -> None:
    split = "all" if check.activations is None else "held_out"
    n_rows, n_features = len(store.rows(split)), check.sizes[0]
    kind, brief = bs.TopK(n_features=n_features, k=K), bs.TrainSettings(n_tokens=2 * check.batch_size)
    dictionary = bs.train(store, kind, settings=brief)

    def job(number: int) -> object:
        settings = bs.IndexSettings(split=split)
        return bs.index_features(model, dictionary, store, out=folder / f"features-{number}", settings=settings)

    predicted = replace(BASE, tokens=store.n_tokens, n_features=n_features, index_tokens=n_rows)
    _compare("index", f"{n_features:,} features, {n_rows:,} tokens", predicted, job, check.rounds, ratios)


def _risk(check: Check, model: Model, ratios: list[float]) -> None:
    ids = torch.arange(model.n_vocabulary)
    level = torch.full((model.n_vocabulary,), 1 / model.n_vocabulary, dtype=torch.float64).log()
    law = bs.ProductTokens(support=(ids,) * N_POSITIONS, log_p=(level,) * N_POSITIONS)
    problem = bs.Problem(model=model, inputs=law, event=bs.ArgmaxToken(0))

    def job(number: int) -> object:
        return bs.estimate(problem, bs.Naive(), bs.Budget(forward=check.forwards), seed=number)

    predicted = replace(BASE, n_features=check.sizes[0], forwards=check.forwards, prompt_tokens=N_POSITIONS)
    _compare("risk", f"{check.forwards:,} forwards of {N_POSITIONS} tokens", predicted, job, check.rounds, ratios)


def _compare(
    stage: str, text: str, settings: bs.PlanSettings, job: Callable[[int], Made], rounds: int, ratios: list[float]
) -> Made:
    """Do the job, print its line, and return what the last round made."""
    made, seconds = _timed(job, 0)
    spent = [seconds]
    for number in range(1, rounds):
        made, seconds = _timed(job, number)
        spent.append(seconds)
    predicted, actual = bs.plan(settings).stage(stage).seconds, statistics.median(spent)
    ratios.append(predicted / actual)
    print(f"| {stage} | {text} | {predicted:.1f} | {actual:.1f} | {ratios[-1]:.2f} |", flush=True)
    return made


def _timed(job: Callable[[int], Made], number: int) -> tuple[Made, float]:
    """What the job made, and its seconds."""
    start = time.perf_counter()
    made = job(number)
    return made, time.perf_counter() - start


def _batches(store: bs.ActivationStore, check: Check) -> list[torch.Tensor]:
    """Activations to train on, in memory: of a store that is used in part, sums and reading would count as a whole."""
    rows = store.rows("train")[: check.train_tokens]
    return list(store.read(rows, HOOKPOINT).split(check.batch_size))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Check)))
