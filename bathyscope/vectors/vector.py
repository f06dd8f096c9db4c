"""`SteeringVector`: directions at hookpoints, what they are worth as detectors, and where they come from.

A folder of kind `vector`: `vectors.safetensors`, one float32 tensor [D] per hookpoint; `vector.json`, units, threshold,
origin and detection beside its nulls. Knows nothing of how directions are learnt.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.config import to_json
from bathyscope.dictionaries.formats.outgoing import save_tensors
from bathyscope.dictionaries.formats.tensor_file import open_safetensors
from bathyscope.errors import ArtifactError, BathyscopeError, ConfigError
from bathyscope.evaluation.scores import Score, from_row, to_row
from bathyscope.files import read_json, sha256_of, write_atomic
from bathyscope.steering.operations.directions import require_direction, unit
from bathyscope.steering.operations.offset import Offset
from bathyscope.steering.operations.strength import Strength

KIND = "vector"
DIRECTIONS, INDEX = "vectors.safetensors", "vector.json"
Unit = Literal["norm", "maximum", "length"]
"""What a strength is a multiple of: the layer's typical norm, the largest product of a true token with the unit
direction, or the length that the vector came with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What strengths at one hookpoint are multiples of; None where it is not known."""

    norm: float | None = None
    """Median length of the tokens that taught the vector."""
    maximum: float | None = None
    """Largest product of a true token with the unit direction, where it is above 0."""
    threshold: float | None = None
    """Product with the unit direction, pooled over a text's tokens, above which a text counts as true; also None where
    no threshold told the teaching half better than calling nothing true."""

    def __post_init__(self) -> None:
        for name, size in (("norm", self.norm), ("maximum", self.maximum)):
            if size is not None and not (math.isfinite(size) and size > 0):
                raise ConfigError(f"{name} is {size}, expected a length above 0")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ConfigError(f"threshold is {self.threshold}, expected a number")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SteeringVector:
    """One direction at each of some hookpoints."""

    directions: Mapping[str, Float[Tensor, " D"]]
    """Hookpoint → direction. Learnt ones have length 1; imported ones keep the length that they came with."""
    units: Mapping[str, Units]
    """Hookpoint → what strengths there are multiples of."""
    has_length: bool = False
    """Whether the directions came with lengths that mean something."""
    pool: Literal["mean", "max"] = "mean"
    """How a text's tokens are pooled for the threshold and for the scores."""
    model_identity: Mapping[str, str] | None = None
    """The model that was read; None: not known."""
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Method, settings, digests and choices, or the file that was imported; JSON data."""
    scores: Sequence[Score] = ()
    """Detection on texts that did not teach the vector, beside its nulls; one metric per hookpoint."""

    def __post_init__(self) -> None:
        if not self.directions or set(self.directions) != set(self.units):
            raise ArtifactError("a vector needs a direction for at least one hookpoint, and units for each")
        if self.pool not in ("mean", "max"):
            raise ArtifactError(f"pool is {self.pool!r}, expected mean or max")
        for hookpoint, direction_D in self.directions.items():
            try:
                require_direction(direction_D, name=f"the direction at {hookpoint}")
            except ConfigError as error:
                raise ArtifactError(str(error)) from error

    @property
    def hookpoints(self) -> tuple[str, ...]:
        """Where it acts."""
        return tuple(self.directions)

    def hookpoint(self, at: str | None = None) -> str:
        """`at` after checking it; the only one for None. Raises ConfigError otherwise."""
        if at is None and len(self.directions) == 1:
            return self.hookpoints[0]
        if at not in self.directions:
            raise ConfigError(f"this vector has no hookpoint {at!r}; expected one of: {', '.join(self.hookpoints)}")
        return str(at)

    def direction(self, at: str | None = None) -> Float[Tensor, " D"]:
        """The unit direction at a hookpoint, which may be left out when there is one."""
        direction_D = self.directions[self.hookpoint(at)]
        return unit(direction_D, direction_D)

    def strength(self, value: float, of: Unit = "norm", *, at: str | None = None) -> Strength:
        """`value` units at a hookpoint. Raises ConfigError where the unit is not known."""
        name = self.hookpoint(at)
        length = float(self.directions[name].norm()) if self.has_length else None
        sizes = {"norm": self.units[name].norm, "maximum": self.units[name].maximum, "length": length}
        amount = sizes.get(of)
        if amount is None:
            known = ", ".join(each for each, size in sizes.items() if size is not None)
            raise ConfigError(f"this vector has no unit {of!r} at {name}; expected one of: {known or 'none'}")
        title = {"norm": "typical norm", "maximum": "observed maximum", "length": "length as imported"}[of]
        return Strength(value, amount, f"{title} of the vector at {name}")

    def add(self, value: float, of: Unit = "norm", *, at: str | None = None) -> Offset:
        """The operation that adds `value` units of the direction at a hookpoint; `steer` takes it.

        With the unit `length` an imported vector is added just as the tool that wrote it would.
        """
        name = self.hookpoint(at)
        strength = self.strength(value, of, at=name)
        own_D = self.directions[name]
        vector_D = value * own_D if of == "length" else strength.amount * unit(own_D, own_D)
        return Offset(vector_D=vector_D, hookpoint=name, model_identity=self.model_identity)

    def add_all(self, value: float, of: Unit = "norm") -> list[Offset]:
        """The operations at all hookpoints, each in its own unit."""
        return [self.add(value, of, at=hookpoint) for hookpoint in self.directions]

    @property
    def digest(self) -> str:
        """sha256 over directions, units and all that is said of them."""
        told = json.dumps(self.described(), sort_keys=True).encode()
        tensors = (self.directions[name].float().numpy().tobytes() for name in sorted(self.directions))
        return sha256_of(b"".join(tensors) + told)

    def described(self) -> dict[str, Any]:
        """All but the directions, as JSON data that `undescribed` takes back."""
        return {
            "units": {hookpoint: asdict(known) for hookpoint, known in self.units.items()},
            "has_length": self.has_length,
            "pool": self.pool,
            "model": None if self.model_identity is None else dict(self.model_identity),
            "origin": to_json(self.origin),
            "scores": [to_row(row) for row in self.scores],
        }

    def save(self, out: str | Path) -> None:
        """Write the folder `out` (kind `vector`). Raises ArtifactError when it holds something else."""
        recipe = Recipe(kind=KIND, config={"origin": to_json(self.origin), "digest": self.digest})
        if not artifacts.is_finished(Path(out), recipe):
            with artifacts.draft(Path(out), recipe) as work:
                write_vector(self, work.path)


def undescribed(directions: Mapping[str, Tensor], told: Mapping[str, Any], *, where: Path) -> SteeringVector:
    """The vector of which `described` said `told`. Raises ArtifactError naming `where` when it is anything else."""
    try:
        return SteeringVector(
            directions={name: directions[name] for name in told["units"]},
            units={name: Units(**known) for name, known in told["units"].items()},
            has_length=bool(told["has_length"]),
            pool=told["pool"],
            model_identity=told["model"],
            origin=told["origin"],
            scores=[from_row(row) for row in told["scores"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where} describes no vector of this version: {type(error).__name__} {error}") from error
    except BathyscopeError as error:
        raise ArtifactError(f"{where}: {error}") from error


def imported(
    directions: Mapping[str, Tensor],
    *,
    file: Path,
    origin: Mapping[str, Any],
    model_identity: Mapping[str, str] | None = None,
) -> SteeringVector:
    """A vector of another tool, with lengths and no other unit. Raises ArtifactError naming `file` for NaN or zeros."""
    try:
        return SteeringVector(
            directions=directions,
            units={name: Units() for name in directions},
            has_length=True,
            model_identity=model_identity,
            origin={**origin, "file": file.name},
        )
    except ArtifactError as error:
        raise ArtifactError(f"{file}: {error}") from error


def write_vector(vector: SteeringVector, folder: Path) -> None:
    """The files of a vector's folder."""
    save_tensors({name: direction_D.float() for name, direction_D in vector.directions.items()}, folder / DIRECTIONS)
    write_atomic(folder / INDEX, json.dumps(vector.described(), indent=1, ensure_ascii=False).encode())


def read_vector(folder: Path) -> SteeringVector:
    """The vector of a finished folder. Raises ArtifactError for another kind, an altered file, NaN or other shapes."""
    manifest = artifacts.read_manifest(folder, kind=KIND)
    file, index = (artifacts.check_file(folder, manifest, name) for name in (DIRECTIONS, INDEX))
    return undescribed(read_directions(file), read_json(index), where=folder)


def read_directions(file: Path) -> dict[str, Float[Tensor, " D"]]:
    """Hookpoint → direction, float32. Raises ArtifactError for anything but a safetensors file of vectors."""
    opened = open_safetensors(file)
    return {name: opened.take(name, *opened.shape(name, axes=1)) for name in opened.shapes}
