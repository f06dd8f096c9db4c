"""Does a sparse dictionary help to see rare events? Dictionaries and nulls on the wide world, several seeds.

.venv/bin/python benchmarks/dictionary_events.py --out runs/dictionary-events

For each seed a trained dictionary, columns of shifts, and as nulls a random dictionary and orthogonal axes (principal
ones, and turned at random) of the final activations, and inputs of its own; every estimator reads the same activations.
Errors are in decades, root mean square over events and seeds, with intervals from events drawn again. A second start
goes on where the first was stopped.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.rules import Linear
from bathyscope.dictionaries.weights import Weights
from bathyscope.files import write_atomic
from bathyscope.models.load import load_model
from bathyscope.risk.bench.dictionaries import N_INPUTS, final_activations, law_dictionaries
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.estimators.gaussian_margin import GaussianMargin
from bathyscope.risk.estimators.peaks import PeaksOverThreshold
from bathyscope.risk.estimators.quadratic import QuadraticLogits
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.features.shuffled import ShuffledCodes
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.many import estimate_many
from bathyscope.risk.worlds.truth import read_truth
from bathyscope.risk.worlds.wide import STORED

N_RESAMPLES = 2000
NULL = "shuffled codes, random"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared."""

    out: Path = Path("runs/dictionary-events")
    """Folder of dictionaries and figures."""
    seeds: int = 3
    """Seeds of dictionaries and inputs."""
    forward: int = 2**14
    """Inputs that each estimator reads."""
    events: int = 24
    """Events, evenly spread over their order of probability."""
    low: float = 1e-7
    """Events are likelier than this."""
    high: float = 1e-4
    """Events are rarer than this."""


def main(settings: Comparison) -> int:
    """Estimate, and print the table."""
    truth, _ = read_truth(STORED / "truth")
    tokens = truth.events(settings.low, settings.high)
    n = min(len(tokens), settings.events)
    tokens = [tokens[place * len(tokens) // n] for place in range(n)]
    off_SE: dict[str, list[list[float]]] = {}
    for seed in range(settings.seeds):
        for name, log10_E in figures(settings, seed, tokens):
            errors = [log10 - np.log10(truth[token]) for log10, token in zip(log10_E, tokens, strict=True)]
            off_SE.setdefault(name, []).append(errors)
    table = {name: np.array(errors) for name, errors in off_SE.items()}
    probable = f"{truth[tokens[-1]]:.1e} to {truth[tokens[0]]:.1e}"
    print(f"{n} events, {probable}, {settings.seeds} seeds, {settings.forward:,} inputs\n")
    print("| estimator | rms, decades | mean, decades | worst | beside the random dictionary |")
    print("|---|---|---|---|---|")
    null_SE = table[NULL]
    for name, own_SE in table.items():
        rms, less = spread(own_SE, rms_of), "–"
        if name.startswith("shuffled") and name != NULL:
            less = spread(np.stack([own_SE, null_SE]), lambda both: rms_of(both[0]) - rms_of(both[1]), signed=True)
        worst = own_SE.flat[np.abs(own_SE).argmax()]
        print(f"| {name} | {rms} | {own_SE.mean():+.2f} | {worst:+.2f} | {less} |")
    return 0


def figures(settings: Comparison, seed: int, tokens: list[int]) -> Iterator[tuple[str, list[float]]]:
    """Estimator → log10 of its estimates, an estimate of 0 by its interval's upper end."""
    model, law = load_model(STORED / "model"), read_truth(STORED / "truth")[1]
    for name, estimator in estimators(settings, seed).items():
        file = settings.out / f"seed-{seed}" / f"{name.replace(' ', '-').replace(',', '')}.json"
        if not file.exists():
            events = [ArgmaxToken(token) for token in tokens]
            found = estimate_many(model, law, events, estimator, Budget(forward=settings.forward), seed=seed, level=0.9)
            write_atomic(file, json.dumps([log10_of(each) for each in found]).encode())
            print(f"seed {seed}, {name}: done", file=sys.stderr, flush=True)
        yield name, json.loads(file.read_bytes())


def estimators(settings: Comparison, seed: int) -> dict[str, Estimator]:
    """Name → estimator; dictionaries are made where they are missing."""
    out = settings.out / f"seed-{seed}" / "dictionaries"
    folders = {name: out / name for name in ("trained", "shifts", "random")}
    if not all(folder.exists() for folder in folders.values()):
        law_dictionaries(load_model(STORED / "model"), read_truth(STORED / "truth")[1], out=out, seed=seed)
    shuffled = {name: load_dictionary(folder) for name, folder in folders.items()}
    shuffled |= {"principal axes": axes(seed, is_turned=False), "random axes": axes(seed, is_turned=True)}
    return {
        "GLD": GaussianMargin(),
        "peaks over threshold": PeaksOverThreshold(),
        "QLD": QuadraticLogits(),
        **{f"shuffled codes, {name}": ShuffledCodes(dictionary=own) for name, own in shuffled.items()},
        **{
            f"shuffled codes in blocks of 8, {name}": ShuffledCodes(dictionary=own, block_size=8)
            for name, own in shuffled.items()
            if name in ("trained", "random")
        },
    }


def axes(seed: int, *, is_turned: bool) -> Dictionary:
    """The principal axes of the world's activations as a dictionary, or as many orthogonal ones at random."""
    import torch

    model, law = load_model(STORED / "model"), read_truth(STORED / "truth")[1]
    generator = torch.Generator().manual_seed(1000 + seed)
    x_ND = final_activations(model, law, draw(law, N_INPUTS, generator=generator))
    mean_D, n = x_ND.mean(0), x_ND.shape[1]
    axes_DD = torch.linalg.eigh((x_ND - mean_D).T.cov()).eigenvectors
    if is_turned:
        axes_DD = torch.linalg.qr(torch.randn(n, n, generator=generator)).Q
    weights = Weights(W_enc=axes_DD, b_enc=torch.zeros(n), W_dec=axes_DD.T.contiguous(), b_dec=mean_D)
    return Dictionary(weights=weights, rule=Linear(), subtract_b_dec=True)


def log10_of(found: Estimate) -> float:
    """The estimate, or the upper end where it is 0."""
    log_p = found.figures.log_p if np.isfinite(found.figures.log_p) else found.figures.log_high
    return float(log_p / np.log(10))


def rms_of(off_SE: NDArray[np.float64]) -> float:
    """Root mean square."""
    return float(np.sqrt((off_SE**2).mean()))


def spread(data: NDArray[np.float64], figure: Callable[[NDArray[np.float64]], float], *, signed: bool = False) -> str:
    """A figure with its 95 % interval over events, which stand along the last axis."""
    generator = np.random.default_rng(0)
    n = data.shape[-1]
    drawn = [figure(data[..., generator.integers(n, size=n)]) for _ in range(N_RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    sign = "+" if signed else ""
    return f"{figure(data):{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Comparison)))
