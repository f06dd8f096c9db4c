"""How the error of a TopK dictionary falls with features, tokens and compute, from small real runs.

    .venv/bin/python benchmarks/scaling.py --activations runs/real/activations --out runs/scaling

Every size is trained on every number of tokens, each run with its own whole schedule; all sizes of one number of tokens
learn from one stream. Errors are of held-out documents. One larger run is kept out of the fit and predicted. Finished
dictionaries are kept in `--out`, so a stopped run goes on; about a quarter of an hour on two cores.
"""

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from held_out import spread, unexplained
from torch import Tensor

import bathyscope as bs
from bathyscope.planning.scaling_law import Law, Run, fit_law, interval, predicted_interval, resampled_laws


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Which runs."""

    activations: Path = Path("runs/real/activations")
    """Folder of kind `activations` with held-out documents."""
    out: Path = Path("runs/scaling")
    """Folder of the dictionaries and of `runs.jsonl`."""
    hookpoint: str | None = None
    """Which hookpoint, where there are several."""
    n_features: tuple[int, ...] = (512, 1024, 2048, 4096)
    """Sizes."""
    n_tokens: tuple[int, ...] = (131_072, 262_144, 524_288, 1_048_576)
    """Tokens of training."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds of the start weights."""
    last_features: int = 8192
    """Features of the run that is predicted."""
    last_tokens: int = 2_097_152
    """Its tokens."""
    k: int = 32
    """Active features per token."""
    batch_size: int = 1024
    """Tokens of a step."""
    rows: int = 32_768
    """Held-out activations."""
    resamples: int = 300
    """Draws of runs with replacement, for the intervals."""


def main(scaling: Scaling) -> int:
    """Train what is not there yet, fit, and print."""
    store = bs.ActivationStore(scaling.activations)
    x_ND = spread(store, scaling.hookpoint, scaling.rows)
    runs = [
        run for n_tokens in scaling.n_tokens for run in _trained(store, scaling, x_ND, scaling.n_features, n_tokens)
    ]
    last = _trained(store, scaling, x_ND, (scaling.last_features,), scaling.last_tokens, seeds=scaling.seeds[:1])
    last = next(iter(last))
    (scaling.out / "runs.jsonl").write_text("".join(json.dumps(asdict(run)) + "\n" for run in [*runs, last]))
    law, laws = fit_law(runs), resampled_laws(runs, n=scaling.resamples, seed=0)
    _print_runs(runs, law)
    _print_law(law, laws)
    _print_last(last, law, laws, runs)
    _print_compute(runs, law, d_model=x_ND.shape[1])
    return 0


def _trained(
    store: bs.ActivationStore,
    scaling: Scaling,
    x_ND: Tensor,
    sizes: tuple[int, ...],
    n_tokens: int,
    seeds: tuple[int, ...] | None = None,
) -> Iterator[Run]:
    """The runs of all sizes and seeds on so many tokens, from one stream."""
    members = {
        f"{n_features}-seed{seed}": bs.MemberSettings(of=bs.TopK(n_features=n_features, k=scaling.k), seed=seed)
        for n_features in sizes
        for seed in seeds or scaling.seeds
    }
    settings = bs.TrainSettings(batch_size=scaling.batch_size, n_tokens=n_tokens, survey_rows=0)
    out = scaling.out / f"tokens-{n_tokens}"
    found = bs.train_many(store, members, out=out, hookpoint=scaling.hookpoint, settings=settings)
    if len(found) < len(members):
        sys.exit(f"error: {', '.join(set(members) - set(found))} diverged; leave these sizes out")
    for name, dictionary in found.items():
        n_features = int(name.partition("-")[0])
        yield Run(n_features=n_features, n_tokens=n_tokens, loss=unexplained(dictionary, x_ND))


def _print_runs(runs: list[Run], law: Law) -> None:
    print("\n| features | tokens | unexplained, mean over seeds | fitted |\n|---|---|---|---|")
    for n_features, n_tokens in dict.fromkeys((run.n_features, run.n_tokens) for run in runs):
        losses = [run.loss for run in runs if (run.n_features, run.n_tokens) == (n_features, n_tokens)]
        fitted = law.loss(n_features, n_tokens)
        print(f"| {n_features:,} | {n_tokens:,} | {np.mean(losses):.4f} | {fitted:.4f} |")
    spread = [run.loss / law.loss(run.n_features, run.n_tokens) - 1 for run in runs]
    print(f"\nrelative error of the fit: {math.sqrt(np.mean(np.square(spread))):.2%} (root of the mean square)")


def _print_law(law: Law, laws: list[Law]) -> None:
    names = {
        "E, floor": "floor",
        "A": "of_features",
        "α, of features": "alpha",
        "B": "of_tokens",
        "β, of tokens": "beta",
        "β/(α+β), share of compute for features": "feature_share",
    }
    print("\n| number | value | 95 % of resamples |\n|---|---|---|")
    for text, name in names.items():
        low, high = interval([getattr(one, name) for one in laws])
        print(f"| {text} | {getattr(law, name):.4g} | {low:.4g} to {high:.4g} |")


def _print_last(last: Run, law: Law, laws: list[Law], runs: list[Run]) -> None:
    low, high = predicted_interval(law, laws, runs, n_features=last.n_features, n_tokens=last.n_tokens, seed=0)
    guess, inside = law.loss(last.n_features, last.n_tokens), "inside" if low <= last.loss <= high else "OUTSIDE"
    print(
        f"\nkept out: {last.n_features:,} features, {last.n_tokens:,} tokens: measured {last.loss:.4f}, predicted "
        f"{guess:.4f} ({low:.4f} to {high:.4f}), {inside} the interval, {guess / last.loss - 1:+.1%}"
    )


def _print_compute(runs: list[Run], law: Law, *, d_model: int) -> None:
    """The least loss at each compute, measured and by the law; FLOPs of the encoder's forward product."""
    print("\n| 10^12 FLOP of encoder products | best measured (features × tokens) | best by the law |\n|---|---|---|")
    of_compute: dict[int, list[Run]] = {}
    for run in runs:
        of_compute.setdefault(run.n_features * run.n_tokens, []).append(run)
    for compute, tried in sorted(of_compute.items()):
        best = min(tried, key=lambda run: run.loss)
        F = min(np.geomspace(64, 65_536, 401), key=lambda F, c=compute: law.loss(F, c / F))
        by_law = f"{law.loss(F, compute / F):.4f} ({F:,.0f} × {compute / F:,.0f})"
        measured = f"{best.loss:.4f} ({best.n_features:,} × {best.n_tokens:,})"
        print(f"| {2e-12 * d_model * compute:,.2f} | {measured} | {by_law} |")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Scaling)))
