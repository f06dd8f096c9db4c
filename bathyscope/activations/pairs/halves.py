"""Two halves of a pair set that share no group: choices are made on one, figures reported on the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int8

from bathyscope.errors import ConfigError


class Halves(NamedTuple):
    """Pair numbers of both halves, ascending."""

    choose: Int[np.ndarray, " A"]
    """Where columns, signs and strengths are chosen."""
    report: Int[np.ndarray, " B"]
    """Where figures are taken."""


def halve(groups: Sequence[str], support_PC: Int8[np.ndarray, "P C"], *, seed: int) -> Halves:
    """Both halves, about equally large; groups in an order drawn from `seed`, the largest of the same supports first.

    Groups whose pairs have the same supports are dealt in turn to the half with fewer pairs, so both halves hold
    every change that occurs in two groups. Raises ConfigError when there is only one group.
    """
    members: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    if len(members) < 2:
        raise ConfigError(f"all {len(groups)} pairs belong to one group ({groups[0]!r}); halves would share it")
    strata: dict[tuple[tuple[int, ...], ...], list[str]] = {}
    for group, numbers in members.items():
        strata.setdefault(tuple(sorted({tuple(support_PC[i].tolist()) for i in numbers})), []).append(group)
    rng = np.random.default_rng(seed)
    halves: tuple[list[int], list[int]] = ([], [])
    for key in sorted(strata):
        drawn = [strata[key][i] for i in rng.permutation(len(strata[key])).tolist()]
        dealt = ([], [])
        for group in sorted(drawn, key=lambda group: -len(members[group])):
            sizes = [(len(dealt[h]), len(halves[h]) + len(dealt[h])) for h in (0, 1)]
            dealt[sizes.index(min(sizes))].extend(members[group])
        for half, numbers in zip(halves, dealt, strict=True):
            half.extend(numbers)
    return Halves(*(np.array(sorted(half), dtype=np.int64) for half in halves))
