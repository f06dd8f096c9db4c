"""The language bench: directions from shifts of texts in which several concepts change, tested on single changes.

For each pair set: activations of both sides, a sparse shift autoencoder learnt on the choosing half, and other ways of
finding directions beside it, on the same pairs; columns, signs and strengths are chosen on that half, and cosines taken
on the other. Transfers learn on one set and test on another. All of it at every place (hookpoint and position): the
one that the table shows first is the one where labels find the clearest directions on the choosing half, so that no way
has chosen its own. A run folder with the pairs (kind `pairs`), the dictionaries, and `scores` (kind `scores`:
`scores.jsonl`, `table.md`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.activations.pairs.collect import PairSettings, collect_pairs
from bathyscope.activations.pairs.reading import Position
from bathyscope.activations.pairs.sets import SETS, pair_set
from bathyscope.activations.pairs.store import PairStore
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.shifts.ascent import AscentSettings
from bathyscope.dictionaries.shifts.learn import ShiftOrigin, learn_shifts
from bathyscope.dictionaries.shifts.pairs import of_length_one
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ConfigError
from bathyscope.evaluation.identifiability.supports import support_report
from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.language_table import AGREEMENT, CLEARNESS, COLUMNS, EXPLAINED, table
from bathyscope.evaluation.recovery import mean_matched_cosine
from bathyscope.evaluation.scores import Score, from_row, read_scores, score, to_row, write_scores
from bathyscope.evaluation.single_changes.candidates import (
    DICTIONARY,
    LEARNT,
    MEAN,
    PRINCIPAL,
    Candidates,
    at_random,
    learnt,
    mean_of,
    principal,
    unconstrained,
)
from bathyscope.evaluation.single_changes.reach import cosines, reach
from bathyscope.evaluation.single_changes.scores import concept_scores
from bathyscope.evaluation.single_changes.turned import SingleChange, single_changes
from bathyscope.files import write_atomic
from bathyscope.models.load import load_model

TABLE, SCORES = "table.md", "scores"
TRANSFERS = (("binary", "lang"), ("binary", "gender"))
"""Learnt on the first set, tested on the second."""
TOGETHER = "ssae, from pairs in which several change"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageBench:
    """Settings of `bench_language`."""

    sets: tuple[str, ...] = ("lang", "gender", "binary", "quartet", "corr", "truth")
    """Pair sets, see `bathyscope pairs --help`."""
    n_pairs: int | None = None
    """Pairs of each set; None takes each set's usual number."""
    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    hookpoints: tuple[str, ...] = ("layers.7", "layers.15", "layers.23")
    """Where activations are read."""
    positions: tuple[Position, ...] = ("last", "mean")
    """The last token, or the mean over those behind the shared prefix."""
    dictionary: Path | None = None
    """A dictionary, whose columns take part at its own hookpoint."""
    n_columns: int | None = None
    """Columns that are learnt; None takes twice as many as the set has factors, at least 4."""
    n_draws: int = 20
    """Draws of whatever is random."""
    n_restarts: int = 4
    """Restarts of each learning."""
    n_steps: int = 300
    """Steps at each bound."""
    seed: int = 0
    """Seed of pairs, halves, draws and the bootstrap; columns are learnt from this one and from the next."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.sets if name not in SETS]
        if unknown or not self.sets:
            raise ConfigError(f"no pair set is named {unknown[:1] or ['(none)']}; expected some of: {', '.join(SETS)}")
        if not self.hookpoints or not self.positions:
            raise ConfigError("hookpoints and positions are at least one each")
        if min(self.n_draws, self.n_restarts, self.n_steps, 1 if self.n_columns is None else self.n_columns) < 1:
            raise ConfigError("n_draws, n_restarts, n_steps and n_columns are at least 1")


class Place(NamedTuple):
    """Where both sides of a pair are read."""

    hookpoint: str
    position: Position

    def __str__(self) -> str:
        return f"{self.hookpoint} {self.position}"


def bench_language(settings: LanguageBench, *, out: Path) -> list[Score]:
    """Score rows of all sets and transfers, subjects `set, place: way, concept`; resumes after finished stages."""
    stores = {
        (name, position): _collected(name, position, settings, out)
        for name in settings.sets
        for position in settings.positions
    }
    dictionary = None if settings.dictionary is None else load_dictionary(settings.dictionary)
    parents = {f"{name}-{position}": store.path for (name, position), store in stores.items()}
    recipe = Recipe(kind="scores", config=settings, seed=settings.seed, parents=parents)
    if not artifacts.is_finished(out / SCORES, recipe):
        with artifacts.draft(out / SCORES, recipe) as work:
            tests = _tests(settings)
            state = work.state() or {"tests": []}
            for number, test in enumerate(tests):
                progress.report("language", number, len(tests), "sets at a place")
                if number >= len(state["tests"]):
                    rows = _rows(test, stores, dictionary, settings, out)
                    state["tests"].append([to_row(row) for row in rows])
                    work.checkpoint(state)
            progress.report("language", len(tests), len(tests), "sets at a place")
            rows = [from_row(row) for part in state["tests"] for row in part]
            write_scores(work.path, rows)
            write_atomic(work.path / TABLE, table(rows).encode())
    return read_scores(out / SCORES)


def _collected(name: str, position: Position, settings: LanguageBench, out: Path) -> PairStore:
    return collect_pairs(
        load_model(settings.model),
        pair_set(name, n=settings.n_pairs, seed=settings.seed),
        out=out / f"pairs-{name}-{position}",
        hookpoint=settings.hookpoints,
        settings=PairSettings(position=position),
    )


class _Test(NamedTuple):
    """A set that is learnt from and one that is tested on, at one place."""

    source: str
    target: str
    place: Place

    @property
    def name(self) -> str:
        sets = self.source if self.source == self.target else f"{self.source} → {self.target}"
        return f"{sets}, {self.place}"


def _tests(settings: LanguageBench) -> list[_Test]:
    pairs = [(name, name) for name in settings.sets]
    pairs += [both for both in TRANSFERS if set(both) <= set(settings.sets)]
    places = [Place(hookpoint, position) for hookpoint in settings.hookpoints for position in settings.positions]
    return [_Test(source, target, place) for source, target in pairs for place in places]


def _rows(
    test: _Test,
    stores: Mapping[tuple[str, str], PairStore],
    dictionary: Dictionary | None,
    settings: LanguageBench,
    out: Path,
) -> list[Score]:
    source, target, place = test
    folder = out / f"shifts-{source}-{place.hookpoint}-{place.position}"
    found = _learnt(stores[source, place.position], place.hookpoint, settings, folder)
    is_its_place = dictionary is not None and dictionary.hookpoint == place.hookpoint
    ways = _ways(found, dictionary if is_its_place else None, settings)
    changes = single_changes(stores[target, place.position], hookpoint=place.hookpoint, seed=settings.seed)
    about = _about(test.name, found) if source == target else []
    return [*about, _clearness(test.name, changes), *_tested(test.name, ways, changes, settings)]


def _clearness(name: str, changes: Sequence[SingleChange]) -> Score:
    """How alike the shifts of single concepts are on the choosing half: what places are compared by."""
    mean = sum(
        float(cosines(change.choose.shifts_PD, change.choose.shifts_PD.mean(0)).mean()) for change in changes
    ) / len(changes)
    return score(f"{name}: {MEAN}", CLEARNESS, _point(mean, n=len(changes)), unit="concepts", split="choosing half")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Learnt:
    """What was learnt on a set's choosing half."""

    shifts_PD: Float[Tensor, "P D"]
    n_columns: int
    first: Dictionary
    second: Dictionary
    """Of another seed."""
    together: Dictionary | None
    """From pairs in which two or more factors change; None where there are none, or no others."""
    verdict: str
    """Of the supports, before learning."""


def _learnt(store: PairStore, hookpoint: str, settings: LanguageBench, folder: Path) -> _Learnt:
    half = torch.from_numpy(store.halves(settings.seed).choose)
    shifts_PD = store.shifts(hookpoint)[half]
    n_columns = settings.n_columns or max(4, 2 * len(store.factors))
    origin = ShiftOrigin(
        hookpoint=hookpoint,
        model_identity=store.model_identity,
        parents=store.parents,
        materials=store.materials,
    )

    ascent = AscentSettings(n_steps=settings.n_steps)

    def learn(some_PD: Tensor, name: str, *, seed: int) -> Dictionary:
        how = ShiftSettings(n_features=n_columns, n_restarts=settings.n_restarts, ascent=ascent, seed=seed)
        return learn_shifts(some_PD, how, out=folder.with_name(f"{folder.name}-{name}"), origin=origin)

    n_changed_P = (torch.from_numpy(store.support)[half] == 1).sum(1)
    several_PD = shifts_PD[n_changed_P > 1]
    is_mixed = 2 * n_columns <= len(several_PD) < len(shifts_PD)
    return _Learnt(
        shifts_PD=shifts_PD,
        n_columns=n_columns,
        first=learn(shifts_PD, "first", seed=settings.seed),
        second=learn(shifts_PD, "second", seed=settings.seed + 1),
        together=learn(several_PD, "together", seed=settings.seed) if is_mixed else None,
        verdict=support_report(torch.from_numpy(store.support)[half], names=store.factors).verdict,
    )


def _ways(found: _Learnt, dictionary: Dictionary | None, settings: LanguageBench) -> list[Candidates]:
    """Everything that directions are chosen from, but for the supervised mean."""
    n, d, n_draws, seed = found.n_columns, found.shifts_PD.shape[1], settings.n_draws, settings.seed
    alike_PD = of_length_one(found.shifts_PD)
    ways = [
        learnt(LEARNT, found.first.W_dec),
        principal(alike_PD, n),
        principal(found.shifts_PD, n, name=f"{PRINCIPAL}, lengths as they are"),
        unconstrained(alike_PD, n, n_draws=n_draws, seed=seed),
        at_random(n, d, n_draws=n_draws, seed=seed),
    ]
    if found.together is not None:
        ways.append(learnt(TOGETHER, found.together.W_dec))
    if dictionary is not None:
        dictionary.require_one_place("comparing its columns with shifts")
        name = f"random columns, {dictionary.n_features:,} of them"
        many = at_random(dictionary.n_features, d, n_draws=1, seed=seed, name=name)
        ways += [learnt(DICTIONARY, dictionary.W_dec), many]
    return ways


def _tested(
    name: str, ways: Sequence[Candidates], changes: Sequence[SingleChange], settings: LanguageBench
) -> list[Score]:
    rows: list[Score] = []
    for change in changes:
        offered = [*ways, mean_of(change.choose.shifts_PD)]
        reached = {way.name: reach(way, change) for way in offered}
        rows += concept_scores(change, reached, seed=settings.seed)
    return [dataclasses.replace(row, subject=f"{name}: {row.subject}") for row in rows]


def _about(name: str, found: _Learnt) -> list[Score]:
    """What is said of a set as a whole: two seeds, reconstruction, and the verdict on its supports."""
    agreement = mean_matched_cosine(_kept(found.first.W_dec) @ _kept(found.second.W_dec).T)
    explained = float(found.first.training["mean_square_explained"])
    alone = {"unit": "learnings", "split": "choosing half"}
    return [
        score(f"{name}: {LEARNT}", AGREEMENT, _point(agreement, n=2), **alone),
        score(f"{name}: {LEARNT}", EXPLAINED, _point(explained, n=1), **alone),
        score(f"{name}: supports {found.verdict}", COLUMNS, _point(float(found.n_columns), n=1), **alone),
    ]


def _kept(rows_CD: Tensor) -> Tensor:
    return rows_CD[rows_CD.norm(dim=1) > 0]


def _point(value: float, *, n: int) -> Interval:
    return Interval(value=value, low=float("-inf"), high=float("inf"), n=n)
