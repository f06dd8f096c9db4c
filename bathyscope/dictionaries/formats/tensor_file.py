"""Files of named tensors (safetensors, npz), read one tensor at a time with every shape known before.

Sizes are compared with the file before anything is allocated. Knows nothing of what the tensors mean.
"""

import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import torch
from numpy.lib import format as npy
from torch import Tensor

from bathyscope.errors import ArtifactError
from bathyscope.files import read_json

CONFIG_BYTES = 8 << 20
"""Largest JSON file that is read as settings."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorFile:
    """Named tensors of one file."""

    path: Path
    """The file."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each tensor, known without reading it."""
    read: Callable[[str], Tensor]
    """One tensor as it is stored."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the file holds besides tensors."""

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def shape(self, name: str, *, axes: int) -> tuple[int, ...]:
        """Shape of a tensor that must be there, with `axes` axes. Raises ArtifactError naming what is missing."""
        if name not in self.shapes:
            held = ", ".join(sorted(self.shapes)[:12]) or "nothing"
            raise ArtifactError(f"{self.path} has no tensor {name!r}; it holds {held}")
        if len(self.shapes[name]) != axes:
            raise ArtifactError(f"{self.path}: {name} has shape {self.shapes[name]}, expected {axes} axes")
        return self.shapes[name]

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor in float32 and contiguous, after comparing its shape. Raises ArtifactError when it is another."""
        if self.shape(name, axes=len(shape)) != shape:
            raise ArtifactError(f"{self.path}: {name} has shape {self.shapes[name]}, expected {shape}")
        tensor = self.read(name)
        if not tensor.dtype.is_floating_point:
            raise ArtifactError(f"{self.path}: {name} holds {tensor.dtype}, expected floating-point numbers")
        return tensor.to(torch.float32, copy=True).contiguous()

    def take_transposed(self, name: str, *shape: int) -> Tensor:
        """The transpose of a stored matrix, float32 and contiguous; `shape` is that of the result."""
        return self.take(name, *reversed(shape)).T.contiguous()

    def number(self, name: str) -> float:
        """A tensor of one element."""
        if math.prod(self.shapes.get(name, (0,))) != 1:
            raise ArtifactError(f"{self.path}: {name} is {self.shapes.get(name, 'missing')}, expected one number")
        return float(self.read(name).double().reshape(()))


def open_safetensors(path: Path) -> TensorFile:
    """The tensors of a safetensors file, whose header the library compares with the file's size."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is damaged or no safetensors file: {error}") from error
    return TensorFile(path, shapes, lambda name: _read_safetensors(path, name))


def open_npz(path: Path) -> TensorFile:
    """The arrays of an npz file, never unpickled; the size that each header claims must be the one in the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {entry.filename.removesuffix(".npy"): _npy_header(archive, entry) for entry in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise ArtifactError(f"{path} is damaged or no npz file: {error}") from error
    return TensorFile(path, headers, lambda name: _read_npz(path, name))


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in a settings file of bounded size. Raises ArtifactError naming the file."""
    if not path.is_file():
        raise ArtifactError(f"{path} is missing")
    if path.stat().st_size > CONFIG_BYTES:
        raise ArtifactError(f"{path} has {path.stat().st_size:,} bytes, expected settings of at most {CONFIG_BYTES:,}")
    try:
        return read_json(path)
    except RecursionError as error:
        raise ArtifactError(f"{path} is damaged: nested too deeply") from error


def _read_safetensors(path: Path, name: str) -> Tensor:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.get_tensor(name)
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: {name} cannot be read: {error}") from error


def _npy_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[int, ...]:
    with archive.open(entry) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        claimed, held = math.prod(shape) * dtype.itemsize, entry.file_size - stream.tell()
    if dtype.kind not in "fiu":
        raise ValueError(f"{entry.filename} holds {dtype}, expected plain numbers")
    if claimed != held:
        raise ValueError(f"{entry.filename} claims {claimed:,} bytes and holds {held:,}")
    if entry.compress_size and entry.file_size > 1000 * entry.compress_size:
        raise ValueError(f"{entry.filename} would grow from {entry.compress_size:,} to {entry.file_size:,} bytes")
    return cast(tuple[int, ...], shape)


def _read_npz(path: Path, name: str) -> Tensor:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return torch.from_numpy(np.ascontiguousarray(arrays[name]))
    except (zipfile.BadZipFile, ValueError, TypeError, OSError) as error:
        raise ArtifactError(f"{path}: {name} cannot be read: {error}") from error
