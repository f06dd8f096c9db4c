"""`Shelf`: what steer clauses of requests may name, opened before the first request.

A request names dictionaries and vectors, never files: nothing is read from disk on its behalf.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.models.model import Model
from bathyscope.steering.clause import Clause
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.amplify import Amplify
from bathyscope.steering.operations.directions import require_direction
from bathyscope.steering.operations.offset import Offset
from bathyscope.steering.operations.strength import Strength, typical_norm
from bathyscope.steering.steer import require_fit
from bathyscope.vectors.exchange import load_vector

T = TypeVar("T")

HOOKPOINT = "hookpoint"
"""Metadata entry of a file of vectors that says where they were read."""
MAX_VECTORS = 4096
NEUTRAL = (
    "The library opens at nine in the morning and closes at six in the evening.",
    "Two trains leave the station every hour, one to the north and one to the coast.",
    "She put the kettle on, looked out of the window and wrote the first line of the letter.",
    "Water boils at a lower temperature in the mountains, because the air is thinner there.",
)
"""Texts on which the typical norm of a hookpoint is measured."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vector:
    """A direction with a name."""

    direction_D: Float[Tensor, " D"]
    """In the space of the hookpoint; its length is not used."""
    hookpoint: str
    """Where it was read and acts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shelf:
    """Dictionaries and vectors by name, and the units of strengths."""

    dictionaries: Mapping[str, Dictionary]
    """Name (that of the folder) → dictionary."""
    vectors: Mapping[str, Vector]
    """Name of the tensor → vector."""
    norms: Mapping[str, float]
    """Hookpoint → median length of its activations on a few neutral sentences."""


def open_shelf(model: Model, *, dictionaries: Sequence[str] = (), vectors: Sequence[Path] = ()) -> Shelf:
    """Open folders (or Hub ids) of dictionaries, folders or safetensors files of vectors; see that they fit the model.

    Raises what `load_dictionary` raises, ArtifactError for a file that holds no vectors, ConfigError for two things of
    one name, and ModelError or ConfigError for what does not fit the model.
    """
    opened = [(Path(place).name, load_dictionary(place)) for place in dictionaries]
    found = [
        pair for place in vectors for pair in (read_vectors(place) if place.is_file() else learnt_vectors(model, place))
    ]
    return fill_shelf(model, dictionaries=opened, vectors=found)


def fill_shelf(
    model: Model, *, dictionaries: Iterable[tuple[str, Dictionary]] = (), vectors: Iterable[tuple[str, Vector]] = ()
) -> Shelf:
    """The same with what is open already, as pairs of name and thing."""
    named, directions = _by_name("dictionaries", dictionaries), _by_name("vectors", vectors)
    for dictionary in named.values():
        require_fit(model, Clause(operation=Amplify(dictionary, (0,), 0.0)))
    for name, vector in directions.items():
        require_direction(vector.direction_D, name=f"the vector {name!r}")
        unit = Strength(0.0, 1.0, "unit length")
        require_fit(model, Clause(operation=Add(vector.direction_D, unit, vector.hookpoint), name=name))
    places = {dictionary.hookpoint for dictionary in named.values()} | {v.hookpoint for v in directions.values()}
    norms = {place: typical_norm(model, place, NEUTRAL) for place in sorted(place for place in places if place)}
    return Shelf(dictionaries=named, vectors=directions, norms=norms)


def learnt_vectors(model: Model, folder: Path) -> list[tuple[str, Vector]]:
    """The directions of a folder of kind `vector`: named after it, and with several after their hookpoints, too.

    Raises ModelError for one that was learnt from another model.
    """
    vector = load_vector(folder)
    for at in vector.hookpoints:
        own = Offset(vector_D=vector.direction(at), hookpoint=at, model_identity=vector.model_identity)
        require_fit(model, Clause(operation=own, name=folder.name))
    alone = len(vector.hookpoints) == 1
    return [
        (folder.name if alone else f"{folder.name}@{at}", Vector(direction_D=vector.direction(at), hookpoint=at))
        for at in vector.hookpoints
    ]


def read_vectors(file: Path) -> list[tuple[str, Vector]]:
    """Every tensor of a safetensors file, each one direction [D]; its metadata name the hookpoint."""
    try:
        with safe_open(file, framework="pt") as opened:
            hookpoint = (opened.metadata() or {}).get(HOOKPOINT)
            names = list(opened.keys())
            if not hookpoint or not 0 < len(names) <= MAX_VECTORS:
                raise ArtifactError(
                    f"{file} needs the metadata entry {HOOKPOINT!r} and 1 to {MAX_VECTORS} tensors, found "
                    f"{hookpoint!r} and {len(names)}; bathyscope vector-convert makes a folder of other files"
                )
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{file} cannot be read as a safetensors file of vectors ({error}); bathyscope vector-convert makes a "
            "folder of files of other kinds"
        ) from error
    for name, direction_D in tensors.items():
        if direction_D.ndim != 1 or not direction_D.is_floating_point():
            raise ArtifactError(f"{file}: {name} has shape {tuple(direction_D.shape)}, expected one direction [D]")
    return [(name, Vector(direction_D=t.to(torch.float32), hookpoint=hookpoint)) for name, t in tensors.items()]


def _by_name(what: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, thing in pairs:
        if name in found:
            raise ConfigError(f"two {what} are named {name!r}; rename one of them")
        found[name] = thing
    return found
