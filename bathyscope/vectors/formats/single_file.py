"""One safetensors file: a float32 tensor per hookpoint, and all else that is known as JSON in its metadata."""

import json
from pathlib import Path

import safetensors
from safetensors.torch import save_file

from bathyscope.errors import ArtifactError
from bathyscope.vectors.vector import SteeringVector, imported, read_directions, undescribed

KEY = "bathyscope.vector"


def write(vector: SteeringVector, path: Path) -> None:
    """Write the vector with its units, scores and origin."""
    tensors = {name: direction_D.float().contiguous() for name, direction_D in vector.directions.items()}
    save_file(tensors, path, metadata={KEY: json.dumps(vector.described())})


def read(path: Path) -> SteeringVector:
    """The vector of a file; one of another tool is read as vectors named by their hookpoints, as long as they are.

    Raises ArtifactError naming the file for damaged files, tensors that are no vectors, and NaN.
    """
    directions = read_directions(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if KEY not in metadata:
        return imported(directions, file=path, origin={"imported": "safetensors", "fields": dict(metadata)})
    try:
        told = json.loads(metadata[KEY])
    except ValueError as error:
        raise ArtifactError(f"{path}: its metadata are no JSON: {error}") from error
    return undescribed(directions, told, where=path)
