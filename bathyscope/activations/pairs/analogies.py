"""Pairs from word analogies: one relation, several side by side, or two in a chain.

`Athens Greece Berlin Germany` under `: capital-world` says that the capital of Greece is Athens and that of Germany is
Berlin. Only the word pairs are kept. Side by side, a text holds one word of each relation; in a chain, the second
relation goes on from where the first one ends (Athens → Greece → Greek), so both can change in one word.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np

from bathyscope import materials
from bathyscope.activations.pairs.pair import Pair, PairSet, full_support
from bathyscope.activations.pairs.shares import quotas
from bathyscope.config import to_json
from bathyscope.errors import ConfigError

MATERIAL, FILE = "analogies", "questions-words.txt"
FRAMES = ("{}", "the word {}", "we wrote {}", "it says {}")
"""What a text is made of: words alone, or behind a few."""

Word = tuple[str, str]
"""Both ends of a relation."""
Change = tuple[bool, ...]
"""Which relations a pair changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analogies:
    """Pairs from relations of the analogy test."""

    relations: tuple[str, ...] = ("family", "gram8-plural")
    """Relations, as the file calls them; each is a factor."""
    compose: Literal["beside", "chain"] = "beside"
    """`beside`: a word of each relation in one text. `chain`: two relations one after the other on one word."""
    single: float = 1.0
    """Share of the pairs in which one relation changes alone, for each relation."""
    several: float = 4.0
    """Share of the pairs in which all relations change."""
    n_pools: int = 8
    """Words are dealt into so many pools and meet only words of their own: a pool is a pair's group."""

    def __post_init__(self) -> None:
        if not self.relations or len(set(self.relations)) < len(self.relations):
            raise ConfigError(f"relations are {self.relations}, expected at least one, each once")
        if self.compose == "chain" and len(self.relations) != 2:
            raise ConfigError(f"a chain needs two relations, found {len(self.relations)}: {', '.join(self.relations)}")
        if min(self.single, self.several) < 0 or self.single + self.several == 0 or self.n_pools < 1:
            raise ConfigError("single and several are shares of at least 0, not both 0; n_pools is at least 1")

    def draw(self, *, n: int | None, seed: int) -> PairSet:
        """`n` different pairs drawn with `seed`, in the given shares; None takes all there are.

        Raises ConfigError for unknown relations, chains that do not meet, and more pairs than there are.
        """
        fetched = materials.fetch(MATERIAL)
        known = read_relations(fetched.files[FILE])
        items = [_relation(known, name) for name in self.relations]
        units = _chains(*items, names=self.relations) if self.compose == "chain" else _beside(items, self, seed)
        joint = "in a chain" if self.compose == "chain" else "side by side"
        return PairSet(
            name=f"analogies {' + '.join(self.relations)}",
            factors=self.relations,
            pairs=tuple(_drawn(self, units, n=n, seed=seed)),
            description=f"words of {', '.join(self.relations)}" + (f", {joint}" if len(items) > 1 else ""),
            materials=(fetched.record(),),
            drawn={"source": to_json(self), "n": n, "seed": seed},
        )


@dataclass(frozen=True, slots=True)
class _Unit:
    """A text's words for each state of the relations, and its group."""

    words: dict[Change, str]
    group: str


def read_relations(path: Path) -> dict[str, list[Word]]:
    """Relation → its different word pairs, in order of appearance. Raises ConfigError for a line that is no analogy."""
    found: dict[str, dict[Word, None]] = {}
    current: dict[Word, None] | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith(":"):
            current = found.setdefault(line[1:].strip(), {})
        elif line.strip():
            words = line.split()
            if current is None or len(words) != 4:
                raise ConfigError(f"{path.name}, line {number}: expected a heading or four words, found {line[:60]!r}")
            current |= {(words[0], words[1]): None, (words[2], words[3]): None}
    return {name: list(words) for name, words in found.items()}


def _relation(known: dict[str, list[Word]], name: str) -> list[Word]:
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3) or list(known)
        raise ConfigError(f"no relation is named {name!r}; nearest: {', '.join(near)}")
    return known[name]


def _beside(items: Sequence[Sequence[Word]], settings: Analogies, seed: int) -> list[_Unit]:
    """Every combination of words of one pool, with its text in each state."""
    rng = np.random.default_rng([seed, 0])
    pools: list[list[list[Word]]] = [[] for _ in range(settings.n_pools)]
    for words in items:
        ends = sorted({word[1] for word in words})  # many cities lie in one state: they stay together
        pool_of = {ends[i]: turn % settings.n_pools for turn, i in enumerate(rng.permutation(len(ends)).tolist())}
        for number, pool in enumerate(pools):
            pool.append([word for word in words if pool_of[word[1]] == number])
    units: list[_Unit] = []
    for number, pool in enumerate(pools):
        for chosen in itertools.product(*pool):
            states = itertools.product((False, True), repeat=len(items))
            texts = {s: " and ".join(w[int(moved)] for w, moved in zip(chosen, s, strict=True)) for s in states}
            units.append(_Unit(texts, f"pool {number}"))
    return units


def _chains(first: Sequence[Word], second: Sequence[Word], *, names: Sequence[str]) -> list[_Unit]:
    """Three words in a row: start, start moved by the first relation, and that moved by the second."""
    onward = {start.lower(): (start, end) for start, end in second}
    units = [
        _Unit({(False, False): a, (True, False): b, (True, True): onward[b.lower()][1]}, b.lower())
        for a, b in first
        if b.lower() in onward
    ]
    if not units:
        raise ConfigError(f"no word that {names[0]!r} ends with begins one of {names[1]!r}; choose relations that meet")
    return units


def _drawn(settings: Analogies, units: Sequence[_Unit], *, n: int | None, seed: int) -> list[Pair]:
    """Pairs of each change, in their shares."""
    shares = _changes(settings)
    wanted = {} if n is None else quotas(n, shares)
    pairs: list[Pair] = []
    for number, change in enumerate(shares):
        found = [pair for unit in units for pair in _moves(settings, unit, change)]
        quota = wanted.get(change, len(found))
        if quota > len(found):
            moved = " and ".join(name for name, moves in zip(settings.relations, change, strict=True) if moves)
            raise ConfigError(
                f"the analogies give only {len(found)} pairs that change {moved}, {quota} are asked; lower n"
            )
        order = np.random.default_rng([seed, 1, number]).permutation(len(found))
        pairs += [found[int(i)] for i in order[:quota]]
    order = np.random.default_rng([seed, 2]).permutation(len(pairs))
    return [pairs[int(i)] for i in order]


def _changes(settings: Analogies) -> dict[Change, float]:
    n = len(settings.relations)
    alone = {tuple(i == j for j in range(n)): settings.single for i in range(n)}
    shares = alone if n == 1 else {**alone, (True,) * n: settings.several}
    return {change: share for change, share in shares.items() if share > 0}


def _moves(settings: Analogies, unit: _Unit, change: Change) -> list[Pair]:
    """The pairs of a unit that change exactly `change`, in every frame; first sides have the other relations unmoved
    or, where the unit has such texts, moved."""
    pairs: list[Pair] = []
    for start, text in unit.words.items():
        end = tuple(s or c for s, c in zip(start, change, strict=True))
        moves = not any(s and c for s, c in zip(start, change, strict=True))
        if moves and end in unit.words and unit.words[end] != text:
            pairs += [_pair(settings, frame, start, end, unit) for frame in FRAMES]
    return pairs


def _pair(settings: Analogies, frame: str, start: Change, end: Change, unit: _Unit) -> Pair:
    names, states = settings.relations, ("first word", "second word")
    changed = [name for name, s, e in zip(names, start, end, strict=True) if s != e]
    return Pair(
        before=frame.format(unit.words[start]),
        after=frame.format(unit.words[end]),
        support=full_support(names, changed),
        values_before={name: states[s] for name, s in zip(names, start, strict=True)},
        values_after={name: states[e] for name, e in zip(names, end, strict=True)},
        group=unit.group,
        source=f"analogies: {unit.group}",
    )
