"""Clauses that would hold one feature at two values at the same token: only the last would count."""

import itertools
from collections.abc import Sequence

from bathyscope.errors import ConfigError
from bathyscope.steering.clause import Clause
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.positions import Positions


def require_apart(clauses: Sequence[Clause]) -> None:
    """Raise ConfigError naming two clamps of one feature whose positions may overlap."""
    clamps = [(clause, clause.operation) for clause in clauses if isinstance(clause.operation, Clamp)]
    for (one, first), (other, second) in itertools.combinations(clamps, 2):
        both = set(first.features) & set(second.features) if first.dictionary is second.dictionary else set[int]()
        if both and may_meet(one.where, other.where):
            raise ConfigError(
                f"{one.label} and {other.label} both hold feature {min(both)}, and their positions overlap; give them "
                "positions that do not"
            )


def may_meet(one: Positions, other: Positions) -> bool:
    """Whether one token could satisfy both, as far as parts, windows, roles and token ids tell."""
    if {one.part, other.part} == {"prompt", "generation"}:
        return False
    if one.roles and other.roles and not set(one.roles) & set(other.roles):
        return False
    if one.tokens and other.tokens and not set(one.tokens) & set(other.tokens):
        return False
    return one.part != other.part or not (_ends_before(one, other) or _ends_before(other, one))


def _ends_before(one: Positions, other: Positions) -> bool:
    """Whether the window of the first is known to end where that of the second begins, or earlier."""
    if one.stop is None or other.start is None or (one.stop < 0) != (other.start < 0):
        return False
    return one.stop <= other.start
