"""Pairs in which one concept alone changes, turned so that it always changes the same way."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.activations.pairs.store import PairStore
from bathyscope.errors import ConfigError

LEAST_PAIRS = 8
"""Fewer pairs of a concept than this in a half say too little."""


class Turned(NamedTuple):
    """Both sides of pairs, float64, and which of them belong together."""

    z_PD: Float[Tensor, "P D"]
    target_PD: Float[Tensor, "P D"]
    groups_P: Int[np.ndarray, " P"]
    """Number of each pair's group: the independent unit."""
    pairs_P: Int[np.ndarray, " P"]
    """Number of each pair in its store."""
    is_turned_P: Bool[np.ndarray, " P"]
    """Whether its sides were exchanged."""

    @property
    def shifts_PD(self) -> Float[Tensor, "P D"]:
        """z̃ - z, turned."""
        return self.target_PD - self.z_PD


class SingleChange(NamedTuple):
    """One concept's pairs in both halves."""

    concept: str
    choose: Turned
    """Where column, sign and strength are chosen."""
    report: Turned
    """Where figures are taken."""


def single_changes(store: PairStore, *, hookpoint: str, seed: int) -> list[SingleChange]:
    """For each factor its pairs in which nothing else is known to change, in two halves that share no group.

    A pair whose value went down in alphabetical order is turned round. Factors with fewer than `LEAST_PAIRS` such pairs
    in a half are left out; ConfigError when that leaves none.
    """
    both_P2D, support_PC, directions_PC = store.both(hookpoint), store.support, store.directions
    groups_P = np.unique(np.array(store.pair_set.groups), return_inverse=True)[1]
    halves = store.halves(seed)
    found: list[SingleChange] = []
    for column, concept in enumerate(store.factors):
        others_PC = np.delete(support_PC, column, axis=1)
        alone_P = (support_PC[:, column] == 1) & (others_PC == 0).all(axis=1)
        parts = [half[alone_P[half]] for half in (halves.choose, halves.report)]
        if min(map(len, parts)) >= LEAST_PAIRS:
            choose, report = (_turned(both_P2D, part, directions_PC[part, column], groups_P) for part in parts)
            found.append(SingleChange(concept, choose, report))
    if not found:
        raise ConfigError(
            f"{store.path} has no factor that changes alone in {LEAST_PAIRS} pairs of each half: there is nothing to "
            "test single concepts on; give a set with single changes"
        )
    return found


def _turned(both_P2D: Tensor, pairs: np.ndarray, direction_P: np.ndarray, groups_P: np.ndarray) -> Turned:
    sides_P2D = both_P2D[torch.from_numpy(pairs)].double()
    is_down_P = direction_P < 0
    sides_P2D = torch.where(torch.from_numpy(is_down_P)[:, None, None], sides_P2D.flip(1), sides_P2D)
    return Turned(sides_P2D[:, 0], sides_P2D[:, 1], groups_P[pairs], pairs, is_down_P)
