"""Where shifts are read from: a folder of pairs with its names and origin, or a bare file of both sides."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.activations.pairs.store import PairStore
from bathyscope.dictionaries.shifts.files import read_pairs
from bathyscope.dictionaries.shifts.learn import ShiftOrigin
from bathyscope.dictionaries.shifts.pairs import shifts_of
from bathyscope.errors import ConfigError
from bathyscope.evaluation.identifiability.settings import KnownConcepts


class OpenedPairs(NamedTuple):
    """Shifts, and what is known of them."""

    shifts_PD: Float[Tensor, "P D"]
    known: KnownConcepts
    origin: ShiftOrigin


def open_pairs(place: Path, *, hookpoint: str | None = None) -> OpenedPairs:
    """The pairs in a folder of kind `pairs`, at one of its hookpoints, or in a file (see `files.py`).

    Raises ArtifactError for another folder, ConfigError for a file that holds no pairs or an unknown hookpoint.
    """
    if not place.is_dir():
        if hookpoint is not None:
            raise ConfigError(f"{place} is a file and names no hookpoint: leave out --hookpoint")
        pairs_PTD, support_PC = read_pairs(place)
        return OpenedPairs(shifts_of(pairs_PTD), KnownConcepts(support_PC=support_PC), ShiftOrigin())
    store = PairStore(place)
    chosen = store.hookpoint(hookpoint)
    support_PC = torch.from_numpy(store.support).float() if store.factors else None
    origin = ShiftOrigin(
        hookpoint=chosen, model_identity=store.model_identity, parents=store.parents, materials=store.materials
    )
    return OpenedPairs(store.shifts(chosen), KnownConcepts(names=store.factors, support_PC=support_PC), origin)
