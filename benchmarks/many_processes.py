"""What a step costs when several processes train one dictionary, and how far their losses are from those of one.

    .venv/bin/python benchmarks/many_processes.py

For each split (processes, shares of the features): median seconds of a step, the largest relative difference of a loss
from one process's, and the share of codes in which the finished dictionaries differ. Activations are drawn: sparse sums
of random directions. All processes run on this machine, each with its share of the cores.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch

from bathyscope.dictionaries.batch_topk import BatchTopK
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.launch.group import joined
from bathyscope.launch.processes import on_this_machine
from bathyscope.launch.rounds import GroupSettings, run_group
from bathyscope.progress import Step, listening

SPLITS = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4))
"""Processes, and shares of the features."""
SKIPPED = 3
"""First steps, which warm up."""


def main() -> None:
    """Train once for each split, each in processes of its own, and print the table."""
    options = _options()
    if options.member:
        _train(options)
        return
    print(f"{'processes':>9} {'feature shares':>14} {'s/step':>8} {'loss differs by':>15} {'codes differ in':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for n_ranks, columns in SPLITS:
            out = Path(folder) / f"{n_ranks}-{columns}"
            words = [*sys.argv[1:], "--member", "--columns", str(columns), "--out", str(out)]
            settings = GroupSettings(nproc=n_ranks, restarts=0)
            if run_group(words, settings, on_this_machine, program=(sys.executable, __file__)):
                sys.exit(f"{n_ranks} processes with {columns} shares of the features failed")
            print(_row(n_ranks, columns, Path(folder), out, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("topk", "batchtopk", "relu"), default="topk")
    parser.add_argument("--features", type=int, default=4608)
    parser.add_argument("--d-model", type=int, default=576)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    for internal in ("--columns", "--out"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    parser.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _world(options: argparse.Namespace) -> torch.Tensor:
    """Activations of eight batches."""
    generator = torch.Generator().manual_seed(1)
    truth_GD = torch.nn.functional.normalize(torch.randn(2048, options.d_model, generator=generator), dim=1)
    chosen_NK = torch.randint(2048, (8 * options.batch, 16), generator=generator)
    amounts_NK = 0.5 + torch.rand(chosen_NK.shape, generator=generator)
    return torch.nn.functional.embedding_bag(chosen_NK, truth_GD, per_sample_weights=amounts_NK, mode="sum")


def _train(options: argparse.Namespace) -> None:
    """What each process does; the first notes when each step ended."""
    kinds = {
        "topk": TopK(n_features=options.features, k=options.k),
        "batchtopk": BatchTopK(n_features=options.features, k=options.k),
        "relu": ReLU(n_features=options.features, l0=options.k),
    }
    settings = TrainSettings(
        batch_size=options.batch, n_tokens=options.batch * options.steps, log_every=1, checkpoint_seconds=1e9,
        survey_rows=0,
    )  # fmt: skip
    ends = list[float]()

    def note(step: Step) -> None:
        if step.stage == "train":
            ends.append(time.perf_counter())

    with joined(feature_ranks=int(options.columns)) as mesh, listening(note):
        batches = list(_world(options).split(options.batch))
        train(batches, kinds[options.kind], out=options.out, settings=settings, mesh=mesh)
    if os.environ["RANK"] == "0":
        Path(f"{options.out}.ends").write_text(json.dumps(ends))


def _row(n_ranks: int, columns: int, folder: Path, out: Path, options: argparse.Namespace) -> str:
    ends = json.loads(Path(f"{out}.ends").read_text())[SKIPPED:-1]  # the last step writes a checkpoint
    seconds = statistics.median(later - earlier for earlier, later in pairwise(ends))
    alone, several = (
        [json.loads(line)["loss"] for line in (place / "metrics.jsonl").read_text().splitlines()]
        for place in (folder / "1-1", out)
    )
    loss = max(abs(b / a - 1) for a, b in zip(alone, several, strict=True))
    x_ND = _world(options)[: options.batch]
    mine, theirs = (load_dictionary(place).encode(x_ND).dense() != 0 for place in (folder / "1-1", out))
    codes = float((mine != theirs).sum()) / float(mine.sum())
    return f"{n_ranks:>9} {columns:>14} {seconds:>8.4f} {loss:>15.1e} {codes:>15.1e}"


if __name__ == "__main__":
    main()
