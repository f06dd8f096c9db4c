"""What makes a dictionary find the truth: settings of some kinds on the reference world, one at a time.

    .venv/bin/python benchmarks/recovery_ablation.py
    .venv/bin/python benchmarks/recovery_ablation.py --rates

Prints a Markdown table: mean and half the 95 % interval over three seeds. About twelve minutes on two cores. With
`--rates` the variants are learning rates and Adam's averaging rates of the kinds that keep the largest codes.
"""

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import tyro

from bathyscope.dictionaries.abs_topk import AbsTopK
from bathyscope.dictionaries.batch_topk import BatchTopK
from bathyscope.dictionaries.jumprelu import JumpReLU
from bathyscope.dictionaries.matryoshka import Matryoshka
from bathyscope.dictionaries.plain import PlainKind
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings
from bathyscope.dictionaries.train_many import MemberSettings, train_many
from bathyscope.evaluation.intervals import over_runs
from bathyscope.evaluation.recovery import Recovery, recoveries
from bathyscope.evaluation.recovery_bench import RecoveryBench, sparsity
from bathyscope.evaluation.side_by_side import side_by_side
from bathyscope.evaluation.worlds.settings import WORLDS
from bathyscope.evaluation.worlds.world import World

BENCH = RecoveryBench()
SEEDS = (0, 1, 2)
COLUMNS = ("f1", "mcc", "uniqueness", "variance_explained", "absorption", "dead")
K = 18


class Variant(NamedTuple):
    """A kind, and its learning rate and Adam's averaging rates where they are not its own."""

    kind: PlainKind
    lr: float | None = None
    betas: tuple[float, float] | None = None


MATRYOSHKA = Matryoshka(n_features=BENCH.n_features, k=K)
BATCH_TOPK = BatchTopK(n_features=BENCH.n_features, k=K)
JUMP_RELU = JumpReLU(n_features=BENCH.n_features, l0=K)
RELU = ReLU(n_features=BENCH.n_features, l0=K)
TOPK = TopK(n_features=BENCH.n_features, k=K)
VARIANTS = {
    "matryoshka, as it is by default": Variant(MATRYOSHKA),
    "k throughout": Variant(dataclasses.replace(MATRYOSHKA, k_anneal=0.0)),
    "k falls over .8 of the run": Variant(dataclasses.replace(MATRYOSHKA, k_anneal=0.8)),
    "k falls from 2·k": Variant(dataclasses.replace(MATRYOSHKA, k_start=2 * K)),
    "k falls from 8·k": Variant(dataclasses.replace(MATRYOSHKA, k_start=8 * K)),
    "aligned": Variant(dataclasses.replace(MATRYOSHKA, aligned=True)),
    "aligned, k throughout": Variant(dataclasses.replace(MATRYOSHKA, aligned=True, k_anneal=0.0)),
    "no auxiliary loss": Variant(dataclasses.replace(MATRYOSHKA, aux_coefficient=0.0)),
    "rate of a large dictionary (.0025)": Variant(MATRYOSHKA, 0.0025),
    "twice its rate": Variant(MATRYOSHKA, 2 * MATRYOSHKA.optimisation(384).lr),
    "three prefixes": Variant(dataclasses.replace(MATRYOSHKA, groups=(0.125, 0.35, 1.0))),
    "batchtopk, as it is by default": Variant(BATCH_TOPK),
    "batchtopk, k throughout": Variant(dataclasses.replace(BATCH_TOPK, k_anneal=0.0)),
    "jumprelu, as it is by default": Variant(JUMP_RELU),
    "jumprelu, L0 falls over .2 of the run": Variant(dataclasses.replace(JUMP_RELU, l0_anneal=0.2)),
    "jumprelu, L0 falls over .8 of the run": Variant(dataclasses.replace(JUMP_RELU, l0_anneal=0.8)),
    "jumprelu, gradients to the encoder too": Variant(dataclasses.replace(JUMP_RELU, ste_to_inputs=True)),
    "relu, as it is by default": Variant(RELU),
    "relu, L0 falls over .2 of the run": Variant(dataclasses.replace(RELU, l0_anneal=0.2)),
    "topk, as it is by default (k throughout)": Variant(TOPK),
    "topk, k falls over .5 of the run": Variant(dataclasses.replace(TOPK, k_anneal=0.5)),
}


HIGHER = 1.6
"""The higher learning rate of `--rates`, in multiples of a kind's own."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Which variants."""

    rates: bool = False
    """Rates of the kinds that keep the largest codes, instead of settings of kinds."""

    @property
    def variants(self) -> dict[str, Variant]:
        """By their names in the table."""
        return dict(_of_rates()) if self.rates else VARIANTS


def _of_rates() -> Iterator[tuple[str, Variant]]:
    signed = AbsTopK(n_features=BENCH.n_features, k=K)
    for name, kind in {"matryoshka": MATRYOSHKA, "batchtopk": BATCH_TOPK, "topk": TOPK, "abstopk": signed}.items():
        higher = HIGHER * kind.optimisation(384).lr
        yield f"{name}, as it is by default", Variant(kind)
        for betas in ((0.5, 0.99), (0.5, 0.999), (0.9, 0.99)):
            yield f"{name}, β {betas[0]}, {betas[1]}", Variant(kind, betas=betas)
        yield f"{name}, {HIGHER} times its rate, β 0.5, 0.99", Variant(kind, higher, (0.5, 0.99))
        yield f"{name}, {HIGHER} times its rate", Variant(kind, higher)


def one_seed(seed: int, *, variants: dict[str, Variant]) -> dict[str, Recovery]:
    """Every variant, trained on one stream."""
    world = World(WORLDS[BENCH.world])
    assert sparsity(BENCH, world) == K
    stream = world.batches(BENCH.n_tokens, batch_size=BENCH.batch_size, seed=seed)
    members = {
        f"v{number}": MemberSettings(of=variant.kind, lr=variant.lr, betas=variant.betas, seed=seed)
        for number, variant in enumerate(variants.values())
    }
    settings = TrainSettings(n_tokens=BENCH.n_tokens, batch_size=BENCH.batch_size, seed=seed, survey_rows=0)
    made = train_many(stream, members, settings=settings)
    found = recoveries(made, world, n_tokens=BENCH.test_tokens, seed=seed)
    return {name: found[f"v{number}"] for number, name in enumerate(variants)}


def main(ablation: Ablation) -> None:
    """Print the table."""
    work = functools.partial(one_seed, variants=ablation.variants)
    found = [figures for _, figures in side_by_side(work, SEEDS, stage="ablation")]
    print(f"| variant | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} |\n|" + "---|" * (1 + len(COLUMNS)))
    for name in ablation.variants:
        cells = []
        for column in COLUMNS:
            interval = over_runs([getattr(figures[name], column) for figures in found])
            cells.append(f"{interval.value:.3f} ± {(interval.high - interval.low) / 2:.3f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(tyro.cli(Ablation))
