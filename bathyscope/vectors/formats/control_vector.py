"""GGUF control vectors, as llama.cpp, repeng and EasySteer read them.

`general.architecture = controlvector`, tensors `direction.N` (float32 [D]): N is the decoder block, counted from 0,
whose output the direction is added to. Strength is not stored, so lengths are. Block 0 has no place in the format.
Hookpoints and the model stand as JSON under a key of our own, which other tools pass over.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.runtime import disk_errors
from bathyscope.vectors.vector import SteeringVector, imported

ARCHITECTURE = "controlvector"
HINT, COUNT = f"{ARCHITECTURE}.model_hint", f"{ARCHITECTURE}.layer_count"
TOLD = "bathyscope.vector"
LARGEST_BYTES = 1 << 30
"""Largest file that is read: a thousand directions of the widest models."""


def write(vectors: dict[str, Float[Tensor, " D"]], told: dict[str, Any], path: Path, *, model_hint: str) -> None:
    """Write the vectors. Raises ConfigError for a hookpoint that is no block, for block 0, and for unequal widths."""
    from gguf import GGUFWriter

    blocks = {name: _block(name) for name in vectors}
    if len({vector_D.shape for vector_D in vectors.values()}) > 1:
        raise ConfigError("a GGUF control vector has one width, these directions have several")
    writer = GGUFWriter(path, ARCHITECTURE)
    writer.add_string(HINT, model_hint)
    writer.add_uint32(COUNT, len(vectors))
    writer.add_string(TOLD, json.dumps({"hookpoints": {str(n): name for name, n in blocks.items()}, **told}))
    for name, vector_D in sorted(vectors.items(), key=lambda item: blocks[item[0]]):
        writer.add_tensor(f"direction.{blocks[name]}", vector_D.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path: Path, *, blocks: str = "layers") -> SteeringVector:
    """The vector of a file; `blocks` is the path of the list of blocks, where the file does not say hookpoints.

    Raises ArtifactError naming the file for anything that is no control vector, other types than float, or NaN.
    """
    fields, tensors = _opened(path)
    if fields.get("general.architecture") != ARCHITECTURE:
        raise ArtifactError(f"{path} holds a {fields.get('general.architecture')!r}, expected a control vector")
    told = _told(path, fields.get(TOLD))
    names = told.get("hookpoints", {})
    directions: dict[str, Tensor] = {}
    for key, data in tensors.items():
        found = re.fullmatch(r"direction\.(\d+)", key)
        if found is None or data.ndim != 1 or data.dtype not in (np.float32, np.float16):
            raise ArtifactError(f"{path}: {key} is {data.dtype} {data.shape}, expected direction.N as one float vector")
        directions[str(names.get(found[1], f"{blocks}.{found[1]}"))] = torch.from_numpy(data.astype(np.float32))
    if len({len(direction_D) for direction_D in directions.values()}) > 1:
        raise ArtifactError(f"{path} holds directions of several widths; a control vector has one")
    kept = {name: value for name, value in fields.items() if isinstance(value, str | int | float)}
    origin = {"imported": "gguf", "fields": kept}
    return imported(directions, file=path, origin=origin, model_identity=told.get("model"))


def _block(hookpoint: str) -> int:
    """Number of the block whose output a hookpoint is."""
    found = re.fullmatch(r"[a-z_]+(?:\.[a-z_]+)*\.(\d+)", hookpoint)
    if found is None:
        raise ConfigError(f"GGUF control vectors act on outputs of whole blocks, {hookpoint} is none")
    if int(found[1]) == 0:
        raise ConfigError(f"GGUF control vectors cannot act on block 0 ({hookpoint}): readers count from 1")
    return int(found[1])


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Plain fields, and tensors copied out of the file."""
    from gguf import GGUFReader

    with disk_errors(path, doing="read"):
        size = path.stat().st_size
        with path.open("rb") as stream:
            magic = stream.read(4)
    if magic != b"GGUF" or size > LARGEST_BYTES:
        raise ArtifactError(f"{path} begins with {magic!r} and has {size:,} bytes; expected a small GGUF file")
    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        tensors = {str(tensor.name): np.array(tensor.data) for tensor in reader.tensors}
    except Exception as error:  # the reader raises whatever damaged bytes lead it into
        raise ArtifactError(f"{path} cannot be read as GGUF ({type(error).__name__}): damaged or cut short") from error
    return fields, tensors


def _told(path: Path, text: object) -> dict[str, Any]:
    try:
        told = json.loads(text) if isinstance(text, str) else {}
    except ValueError as error:
        raise ArtifactError(f"{path}: {TOLD} is no JSON: {error}") from error
    if not isinstance(told, dict) or not isinstance(told.get("hookpoints", {}), dict):
        raise ArtifactError(f"{path}: {TOLD} does not name hookpoints by block")
    return told
