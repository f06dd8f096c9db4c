"""Seconds of writing and reading a dictionary: our folder, and other tools' formats by us and by the tools themselves.

.venv/bin/python benchmarks/load_save.py   (`make peers` sets the other tools up; those that are missing are left out)

Files lie in the system's cache after the first reading, so this is the time of the code, checksums included, and not of
the disk. Ours takes all its ways in turn; a tool takes its own in a process of its own afterwards, without its imports.
"""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import tyro
from interleaved import interleaved
from train.child import BENCHMARKS, ENVIRONMENTS

from bathyscope.dictionaries.dictionary import Dictionary, SavedFormat, load_dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights

PEERS: dict[SavedFormat, str] = {
    "saelens": "sae-lens",
    "sparsify": "eai-sparsify",
    "dictionary_learning": "dictionary-learning",
}
"""Format → the package that it belongs to."""
PLACE = "layers.15"
"""Hookpoint, and the folder's name: sparsify reads the one from the other."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is written and read."""

    d_model: int = 576
    """D, width of the activations."""
    n_features: int = 16_384
    """F, features."""
    k: int = 32
    """Active features per token."""
    rounds: int = 9
    """Times that each is done."""
    out: Path = Path("runs/load-save")
    """Folder for the files; they are removed."""


def main(sizes: Sizes) -> int:
    """Time all ways, print a table."""
    shutil.rmtree(sizes.out, ignore_errors=True)
    sizes.out.mkdir(parents=True)
    dictionary, formats = random_directions(sizes), ("bathyscope", *PEERS)
    for name in formats:
        (sizes.out / name).mkdir()
        dictionary.save(sizes.out / name / PLACE, format=name)
    numbers = itertools.count()
    ways: dict[str, Callable[[], object]] = {}
    for name in formats:
        ways[f"{name} | written here"] = partial(write, dictionary, sizes.out, name, numbers)
        ways[f"{name} | read here"] = partial(load_dictionary, sizes.out / name / PLACE)
    print(f"d = {sizes.d_model}, {sizes.n_features:,} features, float32; medians of {sizes.rounds} rounds\n")
    print("| format | what | ms | least to most |\n|---|---|---|---|")
    for name, times in interleaved(ways, rounds=sizes.rounds).items():
        print(row(name, times.seconds))
    for name, package in PEERS.items():
        python = ENVIRONMENTS / package / "bin" / "python"
        if not python.exists():
            print(f"{package} is left out: run `make peers` to set it up", file=sys.stderr)
            continue
        words = [python, BENCHMARKS / "load_save_peer.py", name, sizes.out / name / PLACE, str(sizes.rounds)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        for what, seconds in json.loads(said).items():
            print(row(f"{name} | {what} by {package}", seconds))
    shutil.rmtree(sizes.out)
    return 0


def random_directions(sizes: Sizes) -> Dictionary:
    """A dictionary whose weights are random."""
    import torch

    generator = torch.Generator().manual_seed(0)
    W_dec_FD = torch.nn.functional.normalize(torch.randn(sizes.n_features, sizes.d_model, generator=generator), dim=1)
    zeros = {"b_enc": torch.zeros(sizes.n_features), "b_dec": torch.zeros(sizes.d_model)}
    weights = Weights(W_enc=W_dec_FD.T.contiguous(), W_dec=W_dec_FD, **zeros)
    return Dictionary(weights=weights, rule=Largest(k=sizes.k), subtract_b_dec=True, hookpoint=PLACE)


def write(dictionary: Dictionary, out: Path, name: SavedFormat, numbers: "itertools.count[int]") -> None:
    """Write to a new folder, and remove it again (which is part of the time)."""
    folder = out / f"new-{next(numbers)}"
    folder.mkdir()
    dictionary.save(folder / PLACE, format=name)
    shutil.rmtree(folder)


def row(name: str, seconds: "list[float] | tuple[float, ...]") -> str:
    """Of the table, in milliseconds."""
    return f"| {name} | {1000 * median(seconds):.1f} | {1000 * min(seconds):.1f}–{1000 * max(seconds):.1f} |"


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Sizes)))
