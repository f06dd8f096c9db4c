"""`.pt` files of lm-eval's `steered` model: hookpoint → vector, coefficient, action, bias, head.

`add` is `acts + coefficient · vector` at every position, special tokens too. Hookpoints are paths below the base model,
as ours. The file is a pickle of tensors and plain values: it is read with `weights_only=True` and nothing else in it.
Older versions of lm-eval add the last vector of a file at all of its hookpoints: give those one hookpoint a file.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.formats.pickled import names_in, open_pickled
from bathyscope.errors import ArtifactError
from bathyscope.vectors.vector import SteeringVector, imported

ENTRY: dict[str, type] = {
    "steering_vector": Tensor,
    "steering_coefficient": float,
    "action": str,
    "bias": type(None),
    "head_index": type(None),
}
"""What stands under a hookpoint, and of which type; `bias` and `head_index` belong to clamps."""


def write(vectors: dict[str, Float[Tensor, " D"]], path: Path) -> None:
    """Write the vectors with coefficient 1."""
    entries: dict[str, dict[str, Any]] = {
        name: {
            "steering_vector": vector_D.float().clone(),
            "steering_coefficient": 1.0,
            "action": "add",
            "bias": None,
            "head_index": None,
        }
        for name, vector_D in vectors.items()
    }
    torch.save(entries, path)


def read(path: Path) -> SteeringVector:
    """The vector of a file. Raises ArtifactError for code in it, another layout, a clamp, or a head of its own."""
    content = open_pickled(path, allowed=dict.fromkeys(names_in(path), ENTRY)).settings
    directions = {str(name): _vector(path, str(name), entry) for name, entry in content.items()}
    return imported(directions, file=path, origin={"imported": "lm-eval"})


def _vector(path: Path, name: str, entry: Any) -> Float[Tensor, " D"]:
    if not {"steering_vector", "steering_coefficient", "action"} <= set(entry):
        raise ArtifactError(f"{path}: {name} lacks steering_vector, steering_coefficient or action")
    if entry["action"] != "add":
        raise ArtifactError(f"{path}: {name} is a {entry['action']!r}; only vectors that are added can be read")
    vector_D: Tensor = entry["steering_vector"]
    if vector_D.ndim != 1 or not vector_D.dtype.is_floating_point or vector_D.nbytes > path.stat().st_size:
        raise ArtifactError(f"{path}: {name} holds {vector_D.dtype} {tuple(vector_D.shape)}, expected one float vector")
    return entry["steering_coefficient"] * vector_D.float()
