"""How good a short run becomes under several learning rates and averaging rates of Adam, on stored activations.

.venv/bin/python benchmarks/learning_rate.py --activations runs/real/activations --n-tokens 524288 2097152

Every pair of rate and averages of every kind is trained from the same start on the same batches, for each number of
tokens with its own whole schedule. Errors are the share of variance unexplained: of the last steps of training, and of
two halves of held-out activations; choose by the first half and report the second. Finished dictionaries are kept in
`--out`, so a stopped run goes on.
"""

import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from held_out import CHUNK, spread, unexplained
from jaxtyping import Float
from torch import Tensor

import bathyscope as bs
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.evaluation.entrants import chosen


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
    kinds: tuple[str, ...] = ("topk",)
    """Kinds of dictionary, by their names in `bathyscope bench recovery`."""
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
    """Features per token, and what kinds that are held at an L0 are held at."""
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
    print("| kind | tokens | lr | β₁, β₂ | in training | held out, 1st half | 2nd half | L0 | dead |")
    print("|" + "---|" * 9)
    averages = tuple(zip(rates.first, rates.second, strict=True))
    kinds = chosen(rates.kinds, n_features=rates.n_features, k=rates.k, with_nulls=False)
    for n_tokens, name, lr, betas in itertools.product(rates.n_tokens, kinds, rates.lr, averages):
        steps = f"tokens-{n_tokens}-of-{rates.batch_size}-lr-{lr:g}-{betas[0]:g}-{betas[1]:g}"
        settings = _settings(rates, n_tokens, lr, betas)
        out = rates.out / f"{name}-{rates.n_features}-{rates.k}-seed{rates.seed}" / steps
        dictionary = bs.train(store, kinds[name], out=out, hookpoint=rates.hookpoint, settings=settings)
        last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
        errors = (1 - last["variance_explained"], *(unexplained(dictionary, half_ND) for half_ND in held_ND.chunk(2)))
        fires_F = _fires(dictionary, more_ND)
        cells = [name, f"{n_tokens:,}", f"{lr:g}", f"{betas[0]:g}, {betas[1]:g}", *(f"{error:.4f}" for error in errors)]
        cells += [f"{fires_F.sum() / len(more_ND):.1f}", f"{(fires_F == 0).mean():.2%}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0


def _settings(rates: Rates, n_tokens: int, lr: float, betas: tuple[float, float]) -> bs.TrainSettings:
    return bs.TrainSettings(
        batch_size=rates.batch_size,
        n_tokens=n_tokens,
        lr=lr,
        betas=betas,
        warm_up=rates.warm_up,
        seed=rates.seed,
        survey_rows=0,
    )


def _fires(dictionary: Dictionary, x_ND: Tensor) -> Float[np.ndarray, " F"]:
    """On how many of the rows each feature fires."""
    fires_F = np.zeros(dictionary.n_features)
    for part in x_ND.split(CHUNK):
        fires_F += dictionary.encode(part).fires().numpy()
    return fires_F


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Rates)))
