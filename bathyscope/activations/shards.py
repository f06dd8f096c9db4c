"""Shards: safetensors files with one [rows, D] tensor per hookpoint, written whole and read by row through a map."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from bathyscope.errors import ArtifactError
from bathyscope.files import TEMPORARY, sync

Dtype = Literal["float16", "bfloat16", "float32"]
TORCH_DTYPES: dict[str, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}
"""Names of stored types."""

_BITS = {"F16": np.dtype("<i2"), "BF16": np.dtype("<i2"), "F32": np.dtype("<i4")}
"""safetensors type → integers of the same width, which NumPy can map whatever the type."""


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.safetensors"


def write_shard(file: Path, tensors: Mapping[str, Float[Tensor, "N ..."]]) -> None:
    """Write a shard so that a crash leaves the whole file or none."""
    temporary = file.with_name(f"{file.name}{TEMPORARY}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
    sync(temporary)
    temporary.replace(file)


@dataclass(frozen=True, slots=True)
class Shard:
    """An open shard: hookpoint → memory-mapped rows, as integers of the stored width."""

    rows: Mapping[str, NDArray[np.signedinteger]]
    """Views of the file; nothing is read until rows are taken."""

    def take(self, hookpoint: str, rows: Int[np.ndarray, " N"] | slice, into: Float[Tensor, "N D"]) -> None:
        """Copy rows of one hookpoint into `into`, which has the stored type."""
        source = self.rows[hookpoint]
        target = into.view(torch.int32 if into.dtype == torch.float32 else torch.int16).numpy()
        if isinstance(rows, slice):
            target[:] = source[rows]
        else:
            np.take(source, rows, axis=0, out=target, mode="clip")


def open_shard(file: Path, *, n_rows: int, widths: Mapping[str, int]) -> Shard:
    """Map a shard. Raises ArtifactError naming the file when it does not hold `n_rows` rows of each hookpoint."""
    try:
        with file.open("rb") as stream:
            start = 8 + int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(start - 8))
        n_bytes = file.stat().st_size
        rows = {name: _map(file, header[name], start, n_bytes) for name in widths}
    except (ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ArtifactError(f"{file} is no readable shard: {type(error).__name__} {error}") from error
    for name, width in widths.items():
        if rows[name].shape != (n_rows, width):
            raise ArtifactError(f"{file}: {name} has shape {rows[name].shape}, expected {(n_rows, width)}")
    return Shard(rows)


def _map(file: Path, entry: Mapping[str, Any], start: int, n_bytes: int) -> NDArray[np.signedinteger]:
    shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
    kind = _BITS[str(entry["dtype"])]
    if start + end > n_bytes or end - begin != kind.itemsize * int(np.prod(shape)):
        raise ValueError("the header does not fit the file")
    if end == begin:
        return np.empty(shape, kind)
    return np.memmap(file, dtype=kind, mode="r", offset=start + begin, shape=shape)
