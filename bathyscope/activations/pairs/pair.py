"""`Pair` and `PairSet`: two texts, what is known about the factors that differ, and what must not be split apart.

Three states of a factor in a pair: changed, unchanged, unknown. Knows nothing of models or of where pairs come from.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int8

from bathyscope.activations.document import fault
from bathyscope.errors import ConfigError

CHANGED, UNCHANGED, UNKNOWN = 1, 0, -1
"""The entries of a support."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two texts that differ in one factor or more. The shift is `after − before`."""

    before: str
    """The first side, read behind `prefix`."""
    after: str
    """The second side, read behind `prefix`."""
    prefix: str = ""
    """What both sides begin with, such as a question; its own spaces and line breaks included."""
    support: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """Factor → whether it changed; a factor that is not named is unknown."""
    values_before: Mapping[str, str] = field(default_factory=dict[str, str])
    """Factor → its value on the first side, where known."""
    values_after: Mapping[str, str] = field(default_factory=dict[str, str])
    """Factor → its value on the second side, where known."""
    group: str = ""
    """What the texts were made of (a verse, a question, a name): pairs of a group stay in one half. Empty: itself."""
    source: str = ""
    """Where the pair comes from, such as `mine.jsonl, line 3`."""

    @property
    def label(self) -> str:
        """What a message calls the pair."""
        return self.source or f"{self.before[:40]!r} | {self.after[:40]!r}"

    @property
    def sides(self) -> tuple[str, str]:
        """Both whole texts, prefix included."""
        return self.prefix + self.before, self.prefix + self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSet:
    """Named pairs over named factors.

    Raises ConfigError when a side is no text, both sides are equal, a factor is not declared, or values contradict the
    support. What is merely suspicious is said by `warnings`.
    """

    name: str
    """Short name, such as `binary`."""
    factors: tuple[str, ...]
    """Every factor that the pairs speak of, in the order of the columns of `support`; none is allowed."""
    pairs: tuple[Pair, ...]
    """The pairs, in a fixed order."""
    description: str = ""
    """One line on what differs."""
    materials: tuple[Mapping[str, str], ...] = ()
    """Where the texts come from: name, version, sha256, licence, origin."""
    drawn: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How to draw the same pairs again, as JSON data: source, n, seed. Empty for pairs that were given whole."""

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ConfigError(f"{self.name} holds no pairs; expected at least one")
        repeated = sorted({factor for factor in self.factors if self.factors.count(factor) > 1})
        if repeated:
            raise ConfigError(f"{self.name} names the factor {repeated[0]!r} twice; expected each once")
        for number, pair in enumerate(self.pairs, start=1):
            problem = pair_fault(pair, self.factors)
            if problem:
                raise ConfigError(f"{self.name}, pair {number} ({pair.label}): {problem}")

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def support(self) -> Int8[np.ndarray, "P C"]:
        """1 where a factor changed, 0 where it did not, −1 where nobody knows."""
        rows = [[_entry(pair.support.get(factor)) for factor in self.factors] for pair in self.pairs]
        return np.array(rows, dtype=np.int8).reshape(self.n_pairs, len(self.factors))

    @property
    def directions(self) -> Int8[np.ndarray, "P C"]:
        """+1 where a factor's value moved up in alphabetical order, −1 down, 0 unchanged or values unknown.

        Which way is up means nothing; that two pairs go the same way does, for a mean of shifts.
        """
        rows = [[_direction(pair, factor) for factor in self.factors] for pair in self.pairs]
        return np.array(rows, dtype=np.int8).reshape(self.n_pairs, len(self.factors))

    @property
    def groups(self) -> list[str]:
        """The group of each pair."""
        return [pair.group or f"pair {number}" for number, pair in enumerate(self.pairs)]

    @property
    def digest(self) -> str:
        """sha256 over factors and pairs in their order; name, provenance and draw do not count."""
        total = hashlib.sha256(json.dumps(self.factors).encode())
        for pair in self.pairs:
            row = [*pair.sides, pair.prefix, dict(pair.support), dict(pair.values_before), dict(pair.values_after)]
            total.update(json.dumps([*row, pair.group], sort_keys=True).encode())
        return total.hexdigest()

    @property
    def warnings(self) -> list[str]:
        """What a person should know before believing anything learnt from these pairs; see `pair_warnings`."""
        return pair_warnings(self)


def full_support(factors: Sequence[str], changed: Sequence[str]) -> dict[str, bool]:
    """The support of a pair about which all is known: those in `changed` changed, all others did not."""
    return {factor: factor in changed for factor in factors}


def by_transition(pairs: PairSet, factors: Sequence[str] | None = None) -> PairSet:
    """The same pairs with one factor per unordered pair of values, such as `colour: blue/red`, where values are known.

    A factor with m values becomes up to m(m−1)/2 factors, the concepts of CAT(135,3) in arXiv 2502.12179. `factors`
    names all that there may be (see `transition`); None names those that occur. Raises ConfigError when a pair does
    not give the values of a factor.
    """
    moved = [_transitions(pair, pairs) for pair in pairs.pairs]
    factors = tuple(sorted({name for names in moved for name in names}) if factors is None else factors)
    renamed = tuple(
        Pair(
            before=pair.before,
            after=pair.after,
            prefix=pair.prefix,
            support=full_support(factors, list(names)),
            values_before={name: values[0] for name, values in names.items()},
            values_after={name: values[1] for name, values in names.items()},
            group=pair.group,
            source=pair.source,
        )
        for pair, names in zip(pairs.pairs, moved, strict=True)
    )
    return PairSet(
        name=f"{pairs.name} by transition",
        factors=factors,
        pairs=renamed,
        description=pairs.description,
        materials=pairs.materials,
        drawn=pairs.drawn,
    )


def transition(factor: str, one: str, other: str) -> str:
    """What the transition between two values of a factor is called, in either direction."""
    return f"{factor}: {'/'.join(sorted((one, other)))}"


def pair_fault(pair: Pair, factors: Sequence[str]) -> str:
    """Why `pair` is none, in words with the remedy, or nothing."""
    for side, text in (("before", pair.before), ("after", pair.after)):
        if fault(text):
            return f"the side {side!r} is {fault(text)}; a pair needs two texts"
    if pair.before == pair.after:
        return f"both sides are equal ({pair.before[:60]!r}); a pair must differ, leave it out"
    named = {*pair.support, *pair.values_before, *pair.values_after}
    unknown = sorted(named - set(factors))
    if unknown:
        return f"it speaks of {unknown[0]!r}, which is no factor of the set ({', '.join(factors) or 'it has none'})"
    for factor in sorted(set(pair.values_before) & set(pair.values_after)):
        differs = pair.values_before[factor] != pair.values_after[factor]
        if pair.support.get(factor, differs) != differs:
            said = "changed" if pair.support[factor] else "unchanged"
            values = f"{pair.values_before[factor]!r} and {pair.values_after[factor]!r}"
            return f"{factor!r} is said to be {said}, its values are {values}; correct one of them"
    return ""


def pair_warnings(pairs: PairSet) -> list[str]:
    """Duplicates, factors that never or always change, factors that never separate, too few pairs; one line each."""
    said: list[str] = []
    texts = [pair.sides for pair in pairs.pairs]
    n_repeated = len(texts) - len(set(texts))
    if n_repeated:
        said.append(f"{n_repeated} of {len(texts)} pairs occur more than once")
    if len(set(pairs.groups)) < 2:
        said.append("all pairs belong to one group, so they cannot be halved")
    if pairs.n_pairs < len(pairs.factors):
        said.append(f"{pairs.n_pairs} pairs for {len(pairs.factors)} factors: fewer pairs than concepts")
    support_PC = pairs.support
    n_unknown = int((support_PC == UNKNOWN).any(axis=1).sum())
    if pairs.factors and n_unknown:
        said.append(f"of {n_unknown} of {len(texts)} pairs it is not fully known which factors changed")
    for column, factor in enumerate(pairs.factors):
        known_M = support_PC[support_PC[:, column] != UNKNOWN, column]
        if len(known_M) == 0:
            said.append(f"nothing is known of {factor!r} in any pair")
        elif not (known_M == CHANGED).any():
            said.append(f"{factor!r} never changes: nothing can be learnt of it")
        elif len(pairs.factors) > 1 and (known_M == CHANGED).all():
            said.append(f"{factor!r} changes in every pair: it cannot be told from a constant shift")
    return [*said, *_inseparable(pairs.factors, support_PC)]


def _inseparable(factors: Sequence[str], support_PC: Int8[np.ndarray, "P C"]) -> list[str]:
    """Factors whose columns are the same wherever both are known and change at all."""
    said: list[str] = []
    for i, one in enumerate(factors):
        for j in range(i + 1, len(factors)):
            known_P = (support_PC[:, [i, j]] != UNKNOWN).all(axis=1)
            a, b = support_PC[known_P, i], support_PC[known_P, j]
            if (a == CHANGED).any() and (a == b).all() and not (a == CHANGED).all():
                said.append(f"{one!r} and {factors[j]!r} always change together: nothing can tell them apart")
    return said


def _entry(changed: bool | None) -> int:
    return UNKNOWN if changed is None else int(changed)


def _direction(pair: Pair, factor: str) -> int:
    before, after = pair.values_before.get(factor), pair.values_after.get(factor)
    return 0 if before is None or after is None else (after > before) - (after < before)


def _transitions(pair: Pair, pairs: PairSet) -> dict[str, tuple[str, str]]:
    """Name of each transition of a pair → the values it goes from and to."""
    found: dict[str, tuple[str, str]] = {}
    for factor in pairs.factors:
        if factor not in pair.values_before or factor not in pair.values_after:
            raise ConfigError(f"{pairs.name}: {pair.label} gives no values of {factor!r}; transitions need them")
        sides = (pair.values_before[factor], pair.values_after[factor])
        if sides[0] != sides[1]:
            found[transition(factor, *sides)] = sides
    return found
