"""How good a short TopK run becomes under several learning rates and averaging rates of Adam, on stored activations.

.venv/bin/python benchmarks/learning_rate.py --activations runs/real/activations --n-tokens 524288 2097152

Every pair of rate and averages is trained from the same start on the same batches, for each number of tokens with its
own whole schedule. Errors are the share of variance unexplained: of the last steps of training, and of two halves of
held-out activations; choose by the first half and report the second. Finished dictionaries are kept in `--out`, so a
stopped run goes on.
"""

import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from held_out import CHUNK, spread, unexplained
from torch import Tensor

import bathyscope as bs
from bathyscope.dictionaries.dictionary import Dictionary


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What is trained."""

    activations: Path = Path("runs/real/activations")
    """Folder of kind `activations` with held-out documents."""
    out: Path = Path("runs/learning-rate")
    """Folder of the dictionaries."""
    hookpoint: str | None = None
    """Which hookpoint, where there are several."""
    n_tokens: tuple[int, ...] = (524_288, 2_097_152)
    """Tokens of training."""
    lr: tuple[float, ...] = (2.5e-3, 4e-3, 6e-3)
    """Highest learning rates."""
    first: tuple[float, ...] = (0.9, 0.5)
    """Averaging rates of Adam's gradient, β₁."""
    second: tuple[float, ...] = (0.999, 0.99)
    """Averaging rates of its square, β₂; the first goes with the first β₁, and so on."""
    warm_up: float | None = None
    """Share of the run over which the rate rises; None is the kind's own."""
    n_features: int = 4608
    """F, number of features."""
    k: int = 32
    """Features per token."""
    batch_size: int = 2048
    """Tokens of a step."""
    held_out: int = 20_000
    """Held-out activations, evenly spaced, in two halves of documents."""
    dead_rows: int = 100_000
    """Held-out activations on which a feature must fire once not to count as dead."""
    seed: int = 0
    """Seed of the start and of the order of batches."""


def main(rates: Rates) -> int:
    """Train what is not there yet, and print a line for each."""
    store = bs.ActivationStore(rates.activations)
    held_ND, more_ND = (spread(store, rates.hookpoint, n) for n in (rates.held_out, rates.dead_rows))
    print("| tokens | lr | β₁, β₂ | in training | held out, 1st half | 2nd half | dead |")
    print("|" + "---|" * 7)
    averages = tuple(zip(rates.first, rates.second, strict=True))
    for n_tokens, lr, betas in itertools.product(rates.n_tokens, rates.lr, averages):
        out = rates.out / f"tokens-{n_tokens}-lr-{lr:g}-{betas[0]:g}-{betas[1]:g}"
        dictionary = _trained(store, rates, out, n_tokens, lr, betas)
        halves = [f"{unexplained(dictionary, half_ND):.4f}" for half_ND in held_ND.chunk(2)]
        last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
        cells = [f"{n_tokens:,}", f"{lr:g}", f"{betas[0]:g}, {betas[1]:g}", f"{1 - last['variance_explained']:.4f}"]
        print(f"| {' | '.join([*cells, *halves, f'{_dead_share(dictionary, more_ND):.2%}'])} |", flush=True)
    return 0


def _trained(
    store: bs.ActivationStore, rates: Rates, out: Path, n_tokens: int, lr: float, betas: tuple[float, float]
) -> Dictionary:
    settings = bs.TrainSettings(
        batch_size=rates.batch_size,
        n_tokens=n_tokens,
        lr=lr,
        betas=betas,
        warm_up=rates.warm_up,
        seed=rates.seed,
        survey_rows=0,
    )
    kind = bs.TopK(n_features=rates.n_features, k=rates.k)
    return bs.train(store, kind, out=out, hookpoint=rates.hookpoint, settings=settings)


def _dead_share(dictionary: Dictionary, x_ND: Tensor) -> float:
    """Share of features that fire on none of the rows."""
    fires_F = sum(dictionary.encode(part).fires() for part in x_ND.split(CHUNK))
    assert isinstance(fires_F, Tensor)
    return float((fires_F == 0).double().mean())


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Rates)))
