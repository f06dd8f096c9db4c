"""Seconds of an index and of words, against tokens and against features, with the slope on logarithmic axes.

.venv/bin/python benchmarks/index_speed.py --tokens 25000 50000 100000 200000 --features 4096 8192 16384 32768 65536

A slope of 1 is linear, less is better. Tokens vary at the first number of features, features at the first number of
tokens; every size is measured `rounds` times, sizes in turn. Dictionaries have random directions and k codes a token:
no feature is silent, which costs most. Activations are collected before the clock starts. Writes results.json and two
charts to --out.
"""

import itertools
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from curves import curves

from bathyscope import runtime
from bathyscope.activations.collect import collect
from bathyscope.activations.store import ActivationStore
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.explanations.explain import explain
from bathyscope.features.index import IndexSettings, index_features
from bathyscope.models.load import load_model
from bathyscope.models.model import Model

PARTS = ("index", "words")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Sizes."""

    tokens: tuple[int, ...] = (25_000, 50_000, 100_000, 200_000)
    """Tokens that are indexed."""
    features: tuple[int, ...] = (4096, 8192, 16_384, 32_768, 65_536)
    """Features of the dictionary."""
    k: int = 32
    """Active features per token."""
    model: str = "smollm2"
    """Model."""
    hookpoint: str = "layers.15"
    """Where it is read."""
    text: tuple[str, ...] = ("demo",)
    """Texts, as in `bathyscope collect`."""
    rounds: int = 3
    """Times that each size is measured."""
    threads: int = 2
    """Threads."""
    seed: int = 0
    """Seed of the directions."""
    out: Path = Path("runs/index-speed")
    """Folder for activations, results and charts."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One index and its words."""

    tokens: int
    features: int
    index: float
    """Seconds."""
    words: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Of the logarithm of seconds over the logarithm of the size, by least squares."""

    value: float
    low: float
    """Of the 95 % interval (Student's t, residuals taken as independent)."""
    high: float


def main(speed: Speed) -> int:
    """Measure all sizes, print the table and the slopes."""
    import torch

    torch.set_num_threads(speed.threads)
    runtime.keep_freed_memory()
    model = load_model(speed.model)
    sizes = [(n, speed.features[0]) for n in speed.tokens] + [(speed.tokens[0], f) for f in speed.features[1:]]
    stores = {
        n: collect(model, list(speed.text), out=speed.out / f"activations-{n}", hookpoint=speed.hookpoint, n_tokens=n)
        for n in speed.tokens
    }
    found: list[Measured] = []
    for number, (n_tokens, n_features) in itertools.product(range(speed.rounds), sizes):
        dictionary = random_directions(model, speed, n_features)
        found.append(measure(model, dictionary, stores[n_tokens], n_tokens, speed.out / "work"))
        print(f"round {number + 1}: {found[-1]}", file=sys.stderr, flush=True)
    report(speed, found)
    return 0


def random_directions(model: Model, speed: Speed, n_features: int) -> Dictionary:
    """A dictionary with unit rows, the encoder their transpose."""
    import torch

    generator = torch.Generator().manual_seed(speed.seed)
    W_dec_FD = torch.nn.functional.normalize(torch.randn(n_features, model.d_model, generator=generator), dim=1)
    zeros = {"b_enc": torch.zeros(n_features), "b_dec": torch.zeros(model.d_model)}
    weights = Weights(W_enc=W_dec_FD.T.contiguous(), W_dec=W_dec_FD, **zeros)
    rule, identity = Largest(k=speed.k), model.identity
    own = {"hookpoint": speed.hookpoint, "model_identity": identity}
    return Dictionary(weights=weights, rule=rule, subtract_b_dec=False, **own)


def measure(model: Model, dictionary: Dictionary, store: ActivationStore, n_tokens: int, work: Path) -> Measured:
    """Seconds of both stages; their folders are removed."""
    shutil.rmtree(work, ignore_errors=True)
    start = time.perf_counter()
    index = index_features(model, dictionary, store, out=work / "features", settings=IndexSettings(split="all"))
    indexed = time.perf_counter()
    explain(index, model=model, dictionary=dictionary, activations=store, out=work / "words")
    done = time.perf_counter()
    shutil.rmtree(work)
    return Measured(tokens=n_tokens, features=dictionary.n_features, index=indexed - start, words=done - indexed)


def report(speed: Speed, found: Sequence[Measured]) -> None:
    """Table, slopes, charts and results.json."""
    print("| tokens | features | index, s | words, s |\n|---|---|---|---|")
    sizes = dict.fromkeys((one.tokens, one.features) for one in found)
    for tokens, features in sizes:
        own = [one for one in found if (one.tokens, one.features) == (tokens, features)]
        cells = [f"{np.median([getattr(one, part) for one in own]):.1f}" for part in PARTS]
        print(f"| {tokens:,} | {features:,} | {' | '.join(cells)} |")
    print("\n| against | part | slope | 95 % |\n|---|---|---|---|")
    for against, fixed in (("tokens", "features"), ("features", "tokens")):
        own = [one for one in found if getattr(one, fixed) == getattr(speed, fixed)[0]]
        lines: dict[str, list[tuple[float, float]]] = {}
        for part in PARTS:
            points = sorted((float(getattr(one, against)), float(getattr(one, part))) for one in own)
            lines[part] = points
            if len({x for x, _ in points}) > 1 and len(points) > 2:
                fit = slope(points)
                print(f"| {against} | {part} | {fit.value:.2f} | {fit.low:.2f} to {fit.high:.2f} |")
        picture = curves(f"Index and words against {against}", lines, x_title=against, y_title="seconds")
        (speed.out / f"{against}.svg").write_text(picture)
    document = {"environment": runtime.environment(), "measured": [asdict(one) for one in found]}
    (speed.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The fit with its interval."""
    from scipy.stats import t

    x_N, y_N = np.log(np.array(points)).T
    centred_N = x_N - x_N.mean()
    value = float(centred_N @ y_N / (centred_N @ centred_N))
    residual_N = y_N - y_N.mean() - value * centred_N
    freedom = len(points) - 2
    error = float(np.sqrt(residual_N @ residual_N / freedom / (centred_N @ centred_N)))
    half = float(t.ppf(0.975, freedom)) * error
    return Slope(value, value - half, value + half)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Speed)))
