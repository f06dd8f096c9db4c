"""Clauses that would hold one feature at two values at the same token: only the last would count."""

import itertools
from collections.abc import Sequence

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.steering.clause import Clause
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.positions import Positions


def require_apart(clauses: Sequence[Clause]) -> None:
    """Raise ConfigError naming two clamps of one feature whose positions may overlap."""
    clamps = [(clause, clause.operation) for clause in clauses if isinstance(clause.operation, Clamp)]
    for (one, first), (other, second) in itertools.combinations(clamps, 2):
        both = set(first.features) & set(second.features)
        if both and may_meet(one.where, other.where) and _is_same(first.dictionary, second.dictionary):
            raise ConfigError(
                f"{one.label} and {other.label} both hold feature {min(both)}, and their positions overlap; give them "
                "positions that do not"
            )


def _is_same(one: Dictionary, other: Dictionary) -> bool:
    """Whether two dictionaries are one, also where it was loaded twice."""
    return one is other or (one.hookpoint == other.hookpoint and one.digest == other.digest)


def may_meet(one: Positions, other: Positions) -> bool:
    """Whether one token could satisfy both, as far as parts, windows, roles, token ids and exclusions tell."""
    if _is_excluded(one, by=other) or _is_excluded(other, by=one):
        return False
    if {one.part, other.part} == {"prompt", "generation"}:
        return False
    if one.roles and other.roles and not set(one.roles) & set(other.roles):
        return False
    if one.tokens and other.tokens and not set(one.tokens) & set(other.tokens):
        return False
    return one.part != other.part or not (_ends_before(one, other) or _ends_before(other, one))


def _is_excluded(one: Positions, *, by: Positions) -> bool:
    """Whether the other leaves all of the first alone: one of its exclusions asks for nothing more than the first."""
    return any(
        others.part in ("all", one.part)
        and (others.special or not one.special)
        and not others.exclude
        and (not others.tokens or (bool(one.tokens) and set(one.tokens) <= set(others.tokens)))
        and (not others.roles or (bool(one.roles) and set(one.roles) <= set(others.roles)))
        and ((others.start, others.stop) == (None, None) or (others.part, others.start, others.stop) == _window(one))
        for others in by.exclude
    )


def _window(where: Positions) -> tuple[str, int | None, int | None]:
    return where.part, where.start, where.stop


def _ends_before(one: Positions, other: Positions) -> bool:
    """Whether the window of the first is known to end where that of the second begins, or earlier."""
    if one.stop is None or other.start is None or (one.stop < 0) != (other.start < 0):
        return False
    return one.stop <= other.start
