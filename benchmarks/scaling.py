"""How the error of a TopK dictionary falls with features, tokens and compute, from small real runs.

    .venv/bin/python benchmarks/scaling.py --activations runs/real/activations --out runs/scaling

Every size is trained on every number of tokens, each run with its own whole schedule; all sizes of one number of tokens
learn from one stream. Errors are of held-out documents. Larger runs are kept out of the fit and predicted. Finished
dictionaries are kept in `--out`, so a stopped run goes on; about half an hour on two cores.
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

ONCE = 1.1
"""Runs of at most so many passes over the activations count as seeing each once."""


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
    """Features of the runs that are predicted."""
    last_tokens: tuple[int, ...] = (524_288, 2_097_152)
    """Their tokens."""
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
    last = [
        run
        for n_tokens in scaling.last_tokens
        for run in _trained(store, scaling, x_ND, (scaling.last_features,), n_tokens, seeds=scaling.seeds[:1])
    ]
    (scaling.out / "runs.jsonl").write_text("".join(json.dumps(asdict(run)) + "\n" for run in [*runs, *last]))
    laws = {separate: fit_law(runs, separate=separate) for separate in (False, True)}
    drawn = {separate: resampled_laws(runs, n=scaling.resamples, seed=0, separate=separate) for separate in laws}
    _print_runs(runs, laws)
    for separate, law in laws.items():
        print("\nγ held at 0" if separate else "\nγ fitted")
        _print_law(law, drawn[separate])
        _print_last(last, law, drawn[separate], runs)
    _print_passes([*runs, *last], n_rows=len(store.rows("train")), resamples=scaling.resamples)
    _print_compute(runs, laws[False], d_model=x_ND.shape[1])
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


def _print_runs(runs: list[Run], laws: dict[bool, Law]) -> None:
    print("\n| features | tokens | unexplained, mean over seeds | fitted | with γ = 0 |\n|---|---|---|---|---|")
    for n_features, n_tokens in _sizes(runs):
        fitted = (f"{laws[separate].loss(n_features, n_tokens):.4f}" for separate in (False, True))
        mean = np.mean(_losses(runs, n_features, n_tokens))
        print(f"| {n_features:,} | {n_tokens:,} | {mean:.4f} | {' | '.join(fitted)} |")
    several = [losses for size in _sizes(runs) if len(losses := _losses(runs, *size)) > 1]
    if several:
        variances = [np.var(np.log(losses), ddof=1) for losses in several]
        print(f"\nstandard deviation over seeds: {math.sqrt(np.mean(variances)):.2%}")


def _sizes(runs: list[Run]) -> list[tuple[int, int]]:
    return list(dict.fromkeys((run.n_features, run.n_tokens) for run in runs))


def _losses(runs: list[Run], n_features: int, n_tokens: int) -> list[float]:
    return [run.loss for run in runs if (run.n_features, run.n_tokens) == (n_features, n_tokens)]


def _print_law(law: Law, laws: list[Law]) -> None:
    names = {
        "E, floor": "floor",
        "A": "of_features",
        "α, of features": "alpha",
        "B": "of_tokens",
        "β, of tokens": "beta",
        "γ, of both": "gamma",
        "β/(α+β+γ), share of compute for features": "feature_share",
    }
    print("\n| number | value | 95 % of resamples |\n|---|---|---|")
    for text, name in names.items():
        low, high = interval([getattr(one, name) for one in laws])
        print(f"| {text} | {getattr(law, name):.4g} | {low:.4g} to {high:.4g} |")


def _print_last(last: list[Run], law: Law, laws: list[Law], runs: list[Run]) -> None:
    off = [run.loss / law.loss(run.n_features, run.n_tokens) - 1 for run in runs]
    print(f"\nrelative error of the fit: {math.sqrt(np.mean(np.square(off))):.2%} (root of the mean square)")
    for run in last:
        low, high = predicted_interval(law, laws, runs, n_features=run.n_features, n_tokens=run.n_tokens, seed=0)
        guess, inside = law.loss(run.n_features, run.n_tokens), "inside" if low <= run.loss <= high else "OUTSIDE"
        print(
            f"kept out: {run.n_features:,} features, {run.n_tokens:,} tokens: measured {run.loss:.4f}, predicted "
            f"{guess:.4f} ({low:.4f} to {high:.4f}), {inside} the interval, {guess / run.loss - 1:+.1%}"
        )


def _print_passes(runs: list[Run], *, n_rows: int, resamples: int) -> None:
    """Runs that see activations more than once, beside the law of those that do not."""
    once = [run for run in runs if run.n_tokens <= ONCE * n_rows]
    if len({run.n_tokens for run in once}) < 3:
        return
    law, laws = fit_law(once), resampled_laws(once, n=resamples, seed=0)
    print(f"\nfitted to the {len(once)} runs that see each of {n_rows:,} activations about once at most:")
    print("\n| features | tokens | measured | predicted | measured over predicted |\n|---|---|---|---|---|")
    for n_features, n_tokens in _sizes([run for run in runs if run not in once]):
        measured, guess = np.mean(_losses(runs, n_features, n_tokens)), law.loss(n_features, n_tokens)
        low, high = predicted_interval(law, laws, once, n_features=n_features, n_tokens=n_tokens, seed=0)
        print(
            f"| {n_features:,} | {n_tokens:,} | {measured:.4f} | {guess:.4f} ({low:.4f} to {high:.4f}) "
            f"| {measured / guess - 1:+.1%} |"
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
