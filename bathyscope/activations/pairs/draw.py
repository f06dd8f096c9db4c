"""Pairs drawn from a template: every combination, or some at random without repetition.

The combinations of a change are numbered without being listed: context, values of what stays, first and second value
of what changes are the digits of one number. Drawing pairs is drawing numbers.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bathyscope.activations.pairs.pair import Pair, PairSet, full_support
from bathyscope.activations.pairs.shares import quotas
from bathyscope.activations.pairs.template import Template
from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)

MAX_ENUMERATED = 200_000
"""Most pairs made without a number being asked."""
PERMUTED = 1 << 16
"""Up to so many combinations, they are shuffled; of more, numbers are drawn until enough differ."""


class _Digit(NamedTuple):
    """One digit of a combination's number: which values a name can take on the two sides."""

    name: str
    choices: tuple[tuple[str, str], ...]


def draw_pairs(template: Template, *, n: int | None = None, seed: int = 0) -> PairSet:
    """`n` different pairs of the template, changes in their shares (rounded by largest remainder); None takes all.

    The same template, n and seed give the same pairs. Combinations whose two texts are equal (a form that does not
    show the change) are passed over and counted in a log line. Raises ConfigError when a change has too few pairs.
    """
    wanted = _wanted(template, n)
    seen: set[tuple[str, str]] = set()
    pairs: list[Pair] = []
    n_equal = 0
    for number, (changed, quota) in enumerate(wanted.items()):
        rng = np.random.default_rng([seed, number])
        first = len(pairs)
        for values_before, values_after in _combinations(template, changed, None if n is None else rng):
            if quota is not None and len(pairs) - first == quota:
                break
            pair = _pair(template, values_before, values_after)
            n_equal += pair.before == pair.after
            if pair.before != pair.after and pair.sides not in seen:
                seen.add(pair.sides)
                pairs.append(pair)
        if quota is not None and len(pairs) - first < quota:
            raise ConfigError(
                f"template {template.name} has only {len(pairs) - first} different pairs that change "
                f"{' and '.join(changed)}, {quota} are asked; lower n, or give it more words"
            )
    if n_equal:
        log.warning("template %s: passed over %d combinations whose two texts are equal", template.name, n_equal)
    order = range(len(pairs)) if n is None else np.random.default_rng(seed).permutation(len(pairs))
    return PairSet(
        name=template.name,
        factors=tuple(template.factors),
        pairs=tuple(pairs[int(i)] for i in order),
        description=template.description,
    )


def n_combinations(template: Template, changed: tuple[str, ...]) -> int:
    """How many combinations change exactly `changed` (some may read the same)."""
    return math.prod(len(digit.choices) for digit in _digits(template, changed))


def _wanted(template: Template, n: int | None) -> dict[tuple[str, ...], int | None]:
    """How many pairs each change gets."""
    shares = {changed: share for changed, share in template.changes.items() if share > 0}
    if n is None:
        total = sum(n_combinations(template, changed) for changed in shares)
        if total > MAX_ENUMERATED:
            raise ConfigError(f"template {template.name} has {total:,} pairs; say how many to draw (n)")
        return dict.fromkeys(shares)
    if n < 1:
        raise ConfigError(f"n is {n}, expected at least 1 pair")
    return dict(quotas(n, shares))


def _digits(template: Template, changed: tuple[str, ...]) -> list[_Digit]:
    digits = [_Digit(name, tuple((v, v) for v in values)) for name, values in template.context.items()]
    for name, values in template.factors.items():
        starts = template.starts.get(name, values)
        if name in changed:
            digits.append(_Digit(name, tuple((a, b) for a in starts for b in values if a != b)))
        else:
            digits.append(_Digit(name, tuple((v, v) for v in starts)))
    return digits


def _combinations(
    template: Template, changed: tuple[str, ...], rng: np.random.Generator | None
) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Values of both sides: in order without `rng`, else each once in an order drawn from it, rare ones thinned out."""
    digits = _digits(template, changed)
    total = math.prod(len(digit.choices) for digit in digits)
    highest = math.prod((max(1.0, rule.weight) for rule in template.weights), start=1.0)
    for number in _numbers(total, rng):
        before: dict[str, str] = {}
        after: dict[str, str] = {}
        left = number
        for digit in digits:
            left, place = divmod(left, len(digit.choices))
            before[digit.name], after[digit.name] = digit.choices[place]
        if rng is None or not template.weights or rng.random() * highest < _weight(template, before):
            yield before, after


def _numbers(total: int, rng: np.random.Generator | None) -> Iterator[int]:
    """0 … total − 1, each once."""
    if rng is None:
        yield from range(total)
    elif total <= PERMUTED:
        yield from rng.permutation(total).tolist()
    else:
        seen: set[int] = set()
        while len(seen) < total:
            number = int(rng.integers(total))
            if number not in seen:
                seen.add(number)
                yield number


def _weight(template: Template, before: Mapping[str, str]) -> float:
    weights = (rule.weight for rule in template.weights if all(before[name] == v for name, v in rule.when.items()))
    return math.prod(weights, start=1.0)


def _pair(template: Template, before: Mapping[str, str], after: Mapping[str, str]) -> Pair:
    """The pair of one combination."""
    prefix, text = template.write_prefix(before), template.write(before)
    if template.write_prefix(after) != prefix:
        raise ConfigError(f"template {template.name}: the prefix depends on what changes; use contexts in it only")
    n_groups = math.prod(len(template.context[name]) for name in template.group_by)
    shared = ", ".join(f"{name}={before[name]}" for name in template.group_by) if n_groups > 1 else ""
    factors = tuple(template.factors)
    return Pair(
        before=text,
        after=template.write(after),
        prefix=prefix,
        support=full_support(factors, [name for name in factors if before[name] != after[name]]),
        values_before={name: before[name] for name in factors},
        values_after={name: after[name] for name in factors},
        group=shared or text,
        source=f"{template.name}: {shared}" if shared else f"{template.name}: {text}",
    )
