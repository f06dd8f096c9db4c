"""Two-digit addition: train a small transformer, find its carry, set it to 0, and read 31 for 16 + 25.

    .venv/bin/python recipes/addition/run.py                 # a quarter of an hour on one core
    .venv/bin/python recipes/addition/run.py --size quick    # looks only where the carry is
    .venv/bin/python recipes/addition/run.py --size small    # base 5, seconds

Writes `runs/recipes/addition-SIZE` (the network, and `scores` with every figure) and compares with `expected.json`.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from bathyscope import artifacts
from bathyscope.artifacts import Draft, Recipe
from bathyscope.circuits.alignment import AlignSettings, align, overlap
from bathyscope.circuits.directions import difference_of_means, most_correlated, spanned
from bathyscope.circuits.interchange import Exchanges, exchanges, interchange, intervene
from bathyscope.circuits.subspace import Site, Subspace, activations_at, random_subspace, written
from bathyscope.dictionaries.abs_topk import AbsTopK
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.evaluation.expected import outside, read_expected
from bathyscope.evaluation.intervals import Interval, bootstrap, by_document
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.worlds.adder import AdderSettings, held_out_sums, is_right, train_adder
from bathyscope.evaluation.worlds.addition import ANSWER, POSITIONS, Intervention, Wrong, crossing
from bathyscope.models.generate import generate
from bathyscope.models.model import Model

HERE = Path(__file__).parent
IIA = "interchange accuracy"
READ_AT = ("equals", "hundreds")
"""Where the digits that depend on the carry are read."""
FROM_U2 = ("u2", "equals", "hundreds", "tens")
"""Every token at which both units digits have been seen: whatever the network knows of the carry is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditionSettings:
    """Settings of the recipe."""

    adder: AdderSettings = field(default_factory=AdderSettings)
    """The network."""
    hookpoints: tuple[str, ...] = ("h.0", "h.1.attn", "h.1")
    """Where the carry is looked for."""
    positions: tuple[tuple[str, ...], ...] = (("u2",), READ_AT, ("u2", "tens"), ("u2", *READ_AT), FROM_U2)
    """At which tokens (together, where several are named)."""
    ranks: tuple[int, ...] = (1, 2, 4)
    """Dimensions of the subspace at each token."""
    search_steps: int = 150
    """Steps of each alignment of the search."""
    align_steps: int = 400
    """Steps of each alignment at the place that the search chose."""
    n_sources: int = 4
    """Random sources for each base sum."""
    n_random: int = 20
    """Random subspaces, and random dictionaries' choices."""
    n_features: int = 64
    """Features of the dictionaries."""
    k: int = 4
    """Active features."""
    epochs: int = 40
    """Passes of the dictionaries over the choosing half."""
    enough: float = 0.95
    """Accuracy on the choosing half from which on fewer dimensions are preferred."""
    seed: int = 0
    """Seed of halves, pairs and starts."""


QUICK = AdditionSettings(hookpoints=("h.0",), positions=(("u2",), ("u2", "tens")))
"""The full network, looked at in the places where the carry is."""

SMALL = AdditionSettings(
    adder=AdderSettings(base=5, d_model=32, n_steps=300, batch_size=128, lr=1e-2, held_out=0.1),
    hookpoints=("h.0",),
    positions=(("u2", "tens"),),
    ranks=(4,),
    search_steps=40,
    align_steps=80,
    n_sources=1,
    n_random=3,
    n_features=32,
    epochs=10,
)


class Half(NamedTuple):
    """One half of the sums, with pairs among them."""

    sums_M: Tensor
    """Their numbers."""
    pairs: Exchanges
    """Exchanges whose carries differ."""
    base_P: Tensor
    """The base sum of each pair: pairs of one base are not independent."""


class Experiment:
    """A trained network, and pairs of sums to exchange the carry between."""

    def __init__(self, settings: AdditionSettings, out: Path) -> None:
        self.settings, self.world = settings, settings.adder.world
        self.model: Model = train_adder(settings.adder, out=out / "adder")
        self.sums_N2 = self.world.sums()
        self.rows_NS = self.world.rows(self.sums_N2)
        self.carry_N = self.world.variables(self.sums_N2).carry_N
        choose_M, report_M = self.world.split(held_out=0.5, seed=settings.seed)
        self.choose = self.half(choose_M, self.carry_N)
        self.report = self.half(report_M, self.carry_N)

    def half(
        self,
        among_M: Tensor,
        crossing_N: Tensor,
        *,
        variable: Any = "carry",
        value_N: Tensor | None = None,
        same_carry: bool = False,
    ) -> Half:
        """Exchanges among `among_M` in which the source's `crossing_N` is not the base's carry.

        Wanted is the base's answer with `variable` at the source's `value_N` (`crossing_N` unless given).
        """
        found = crossing(
            crossing_N,
            self.carry_N,
            among_M,
            n_sources=self.settings.n_sources,
            seed=self.settings.seed,
            same_carry=same_carry,
        )
        base_P2, source_P2 = self.sums_N2[found.base_P], self.sums_N2[found.source_P]
        value_N = crossing_N if value_N is None else value_N
        made = exchanges(
            self.world.prompts(base_P2),
            self.world.prompts(source_P2),
            source_answer_PA=self.world.answers(source_P2),
            wanted_PA=self.world.answers(base_P2, Intervention(variable, value_N[found.source_P])),
        )
        return Half(among_M, made, found.base_P)

    def accuracy(self, subspace: Subspace, half: Half) -> Interval:
        """Share of pairs with the wanted answer; the interval is over base sums."""
        return share(interchange(self.model, subspace, half.pairs), half.base_P, seed=self.settings.seed)

    def aligned(self, site: Site, rank: int, half: Half, *, n_steps: int, seed: int = 0) -> Subspace:
        """The subspace that serves the pairs of `half`."""
        how = AlignSettings(rank=rank, n_steps=n_steps, seed=self.settings.seed + seed)
        return align(self.model, site, half.pairs, how).subspace


def share(is_hit_P: Tensor, base_P: Tensor, *, seed: int) -> Interval:
    """Mean with an interval from resampling bases."""
    hits_P2 = np.stack([is_hit_P.double().numpy(), np.ones(len(is_hit_P))], axis=1)
    return bootstrap(by_document(base_P.numpy(), hits_P2), lambda t: t[..., 0] / t[..., 1], seed=seed)


def measure(settings: AdditionSettings, out: Path) -> list[Score]:
    """Every figure, also written to `out/scores`; the search resumes after the last finished place."""
    recipe = Recipe(kind="scores", config=settings, seed=settings.seed)
    if not artifacts.is_finished(out / "scores", recipe):
        with artifacts.draft(out / "scores", recipe) as work:
            experiment = Experiment(settings, out)
            found = search(experiment, work)
            write_scores(
                work.path, [*network_scores(experiment), *found_scores(found), *chosen_scores(experiment, found)]
            )
    return read_scores(out / "scores")


def network_scores(experiment: Experiment) -> Iterator[Score]:
    """How often the network is right."""
    right_N = is_right(experiment.model.network, experiment.rows_NS)
    held_M = held_out_sums(experiment.settings.adder)
    for name, which_M in (("held-out sums", held_M), ("all sums", torch.arange(len(right_N)))):
        interval = share(right_N[which_M], which_M, seed=experiment.settings.seed)
        yield score("network", "accuracy", interval, unit="sums", split=name)


def search(experiment: Experiment, work: Draft) -> dict[str, float]:
    """Place and rank → accuracy on the choosing half."""
    settings, state = experiment.settings, work.state() or {}
    for hookpoint in settings.hookpoints:
        for tokens in settings.positions:
            for rank in settings.ranks:
                name = f"{hookpoint} · {'+'.join(tokens)} · {rank}"
                if name not in state:
                    subspace = experiment.aligned(site_of(name), rank, experiment.choose, n_steps=settings.search_steps)
                    state[name] = float(
                        interchange(experiment.model, subspace, experiment.choose.pairs).double().mean()
                    )
                    work.checkpoint(state)
                    print(f"  searched {name}: {state[name]:.3f}", flush=True)
    return state


def site_of(name: str) -> Site:
    """The site in the name of a searched place."""
    hookpoint, tokens, _ = name.split(" · ")
    return Site(hookpoint, tuple(POSITIONS[token] for token in tokens.split("+")))


def chosen_place(found: dict[str, float], enough: float) -> str:
    """Of the places that are good enough the one with the fewest dimensions in all, the best of equals; or the best."""
    good = [name for name, value in found.items() if value >= enough] or [max(found, key=lambda name: found[name])]
    return min(good, key=lambda name: (rank_of(name) * len(site_of(name).positions), -found[name]))


def rank_of(name: str) -> int:
    """The rank in the name of a searched place."""
    return int(name.rsplit(" ", 1)[1])


def found_scores(found: dict[str, float]) -> Iterator[Score]:
    """The search as rows; no interval, since they only choose."""
    for name, value in found.items():
        unknown = Interval(value=value, low=-np.inf, high=np.inf, n=1)
        yield score(f"search · {name}", IIA, unknown, unit="searches", split="choosing half")


def chosen_scores(experiment: Experiment, found: dict[str, float]) -> Iterator[Score]:
    """Everything at the chosen place, on the reporting half."""
    settings, place = experiment.settings, chosen_place(found, experiment.settings.enough)
    site, rank = site_of(place), rank_of(place)
    starts = [
        experiment.aligned(site, rank, experiment.choose, n_steps=settings.align_steps, seed=seed) for seed in (0, 1)
    ]
    subspace = starts[0]
    for name, each in zip(("aligned subspace", "aligned subspace, second start"), starts, strict=True):
        yield row(name, experiment.accuracy(each, experiment.report))
    same = Interval(value=overlap(*starts), low=-np.inf, high=np.inf, n=1)
    yield score("aligned subspace", "overlap of two starts", same, unit="pairs of starts", split="reporting half")
    yield score("aligned subspace", "rank", certainly(rank), unit="choices", split=place)
    yield from nulls(experiment, subspace)
    yield from held(experiment, subspace, "aligned subspace")
    yield from without_gradient(experiment, site.hookpoint)


def row(subject: str, interval: Interval, metric: str = IIA) -> Score:
    """A row of the reporting half."""
    return score(subject, metric, interval, unit="base sums", split="reporting half")


def certainly(value: float) -> Interval:
    """A figure without uncertainty."""
    return Interval(value=float(value), low=float(value), high=float(value), n=1)


def nulls(experiment: Experiment, subspace: Subspace) -> Iterator[Score]:
    """What an exchange does that should not carry the carry, and what the right one should not do."""
    settings, site, rank, report = experiment.settings, subspace.site, subspace.rank, experiment.report
    d_model = subspace.basis_QRD.shape[2]
    random = [random_subspace(site, rank=rank, d_model=d_model, seed=seed) for seed in range(settings.n_random)]
    best = max(
        random, key=lambda each: float(interchange(experiment.model, each, experiment.choose.pairs).double().mean())
    )
    yield row(f"best of {settings.n_random} random subspaces", experiment.accuracy(best, report))
    whole = random_subspace(site, rank=d_model, d_model=d_model, seed=0)
    yield row("whole activation", experiment.accuracy(whole, report))
    for name in get_args(Wrong):
        value_N = experiment.world.wrong(name, seed=settings.seed)
        halves = [experiment.half(each.sums_M, value_N, same_carry=True) for each in (experiment.choose, report)]
        wrong = experiment.aligned(site, rank, halves[0], n_steps=settings.align_steps)
        yield row(f"aligned to {name}", experiment.accuracy(wrong, halves[1]))
    variables, carry_N = experiment.world.variables(experiment.sums_N2), experiment.carry_N
    for name, value_N in (("units", variables.units_N), ("tens", variables.tens_N)):
        other = experiment.half(report.sums_M, carry_N, variable=name, value_N=value_N)
        yield row(f"aligned subspace, read as {name}", experiment.accuracy(subspace, other))
    alike = experiment.half(report.sums_M, 1 - carry_N, value_N=carry_N)
    yield row("aligned subspace", experiment.accuracy(subspace, alike), metric="unchanged by a source of equal carry")


def without_gradient(experiment: Experiment, hookpoint: str) -> Iterator[Score]:
    """Directions found without running the network, each at the tokens and rank that do best on the choosing half."""
    settings = experiment.settings
    positions = sorted({POSITIONS[token] for tokens in settings.positions for token in tokens})
    per_position = [candidates(experiment, Site(hookpoint, (position,))) for position in positions]
    for subject in per_position[0]:
        directions = {position: found[subject] for position, found in zip(positions, per_position, strict=True)}
        best, tokens = best_spanned(experiment, hookpoint, directions)
        place = f"{hookpoint} · {tokens} · {best.rank}"
        half = experiment.report
        yield score(subject, IIA, experiment.accuracy(best, half), unit="base sums", split=f"reporting half, {place}")
        yield from held(experiment, best, subject)


def candidates(experiment: Experiment, site: Site) -> dict[str, Tensor]:
    """Method → directions [M, D] at one token, the most promising first; labels are those of the choosing half.

    Shifts are differences between random sums, most of which change several digits at once.
    """
    settings, sums_M, most = experiment.settings, experiment.choose.sums_M, max(experiment.settings.ranks)
    x_MD = activations_at(experiment.model, site, experiment.rows_NS[sums_M, :-1])[:, 0]
    carry_M = experiment.carry_N[sums_M]
    partner_M = torch.randperm(len(x_MD), generator=torch.Generator().manual_seed(settings.seed))
    shift_MD, change_M = x_MD[partner_M] - x_MD, carry_M[partner_M] - carry_M
    how = TrainSettings(epochs=settings.epochs, batch_size=256, seed=settings.seed)
    features = train(list(x_MD.split(256)), TopK(n_features=settings.n_features, k=settings.k), settings=how)
    columns = train(list(shift_MD.split(256)), AbsTopK(n_features=settings.n_features, k=settings.k), settings=how)
    null = random_dictionary(features, x_MD, k=settings.k, seed=settings.seed)
    return {
        "difference of means": difference_of_means(x_MD[:, None], carry_M),
        "dictionary": _rows(features, x_MD, carry_M, most),
        "dictionary of shifts": _rows(columns, shift_MD, change_M, most),
        "random dictionary": _rows(null, x_MD, carry_M, most),
    }


def best_spanned(experiment: Experiment, hookpoint: str, directions: dict[int, Tensor]) -> tuple[Subspace, str]:
    """The tokens and the number of directions with the highest accuracy on the choosing half."""
    settings, once = experiment.settings, experiment.choose.pairs[slice(None, None, experiment.settings.n_sources)]
    found: list[tuple[float, Subspace, str]] = []
    for tokens in settings.positions:
        site = Site(hookpoint, tuple(POSITIONS[token] for token in tokens))
        for rank in {min(rank, len(directions[site.positions[0]])) for rank in settings.ranks}:
            subspace = spanned(site, torch.stack([directions[position][:rank] for position in site.positions]))
            right = float(interchange(experiment.model, subspace, once).double().mean())
            found.append((right, subspace, "+".join(tokens)))
    _, subspace, tokens = max(found, key=lambda each: each[0])
    return subspace, tokens


def _rows(dictionary: Dictionary, x_ND: Tensor, label_N: Tensor, n: int) -> Tensor:
    """Decoder rows of the n features that follow the label best."""
    return dictionary.W_dec[most_correlated(dictionary.encode(x_ND).dense(), label_N.float(), n=n)]


def held(experiment: Experiment, subspace: Subspace, subject: str) -> Iterator[Score]:
    """do(carry := 0) and do(carry := 1) in every sum of the reporting half that has the other carry."""
    for value in (0, 1):
        values_QR = held_component(experiment, subspace, value)
        sums_M = experiment.report.sums_M[experiment.carry_N[experiment.report.sums_M] != value]
        wanted = experiment.world.rows(
            experiment.sums_N2[sums_M], Intervention("carry", torch.full_like(sums_M, value))
        )
        is_hit_M = intervene(experiment.model, subspace, values_QR, wanted, n_answer=ANSWER)
        yield row(subject, share(is_hit_M, sums_M, seed=experiment.settings.seed), f"carry set to {value}")
    if experiment.world.base == 10:
        with written(experiment.model, subspace, held_component(experiment, subspace, 0)[None]):
            text = generate(experiment.model, ["16+25="], max_new_tokens=ANSWER)[0].text
        answer = int(text) if text.isdigit() else -1  # -1: no number
        yield score(subject, "16 + 25 with carry set to 0", certainly(answer), unit="sums", split="one sum")


def held_component(experiment: Experiment, subspace: Subspace, value: int) -> Tensor:
    """Mean component of the choosing half's sums that have this carry."""
    among_M = experiment.choose.sums_M[experiment.carry_N[experiment.choose.sums_M] == value]
    x_MQD = activations_at(experiment.model, subspace.site, experiment.rows_NS[among_M, :-1])
    return subspace.components(x_MQD).double().mean(0).float()


def figures(rows: list[Score]) -> dict[str, float]:
    """`subject · metric` (and the split for the network) → value."""
    return {
        f"{each.subject} · {each.metric}" + (f" · {each.split}" if each.subject == "network" else ""): each.value
        for each in rows
    }


def main() -> int:
    """Run, tell the story, compare; 1 when a figure is outside its range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"full": AdditionSettings(), "quick": QUICK, "small": SMALL}
    parser.add_argument("--size", choices=sizes, default="full", help="quick: fewer places; small: base 5, as tested")
    parser.add_argument("--out", type=Path, default=None, help="folder to write")
    given = parser.parse_args()
    out = given.out or Path("runs/recipes") / f"addition-{given.size}"
    rows = measure(sizes[given.size], out)
    for each in rows:
        interval = f"[{each.low:.3f}, {each.high:.3f}]" if np.isfinite(each.low) else ""
        print(f"{each.subject:55} {each.metric:40} {each.value:7.3f} {interval}  {each.split}")
    wrong = outside(figures(rows), read_expected(HERE / "expected.json", given.size))
    print("\n".join(wrong) or "every figure is within its expected range")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
