"""Tensors out of PyTorch's own files, which are pickles: `weights_only=True`, and nothing but what is expected.

The file must be an uncompressed archive whose parts fill it, tensors may not claim more than the file holds, and
what is no tensor must be on the reader's list, by name and type. Anything else is refused with what to convert.
"""

import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from bathyscope.dictionaries.formats.tensor_file import TensorFile
from bathyscope.dictionaries.place import CONVERT
from bathyscope.errors import ArtifactError

Allowed = Mapping[str, "type | Allowed"]
"""Names and types of what may stand beside the tensors; a mapping for a nested one."""


def open_pickled(path: Path, *, allowed: Allowed | None = None) -> TensorFile:
    """The tensors of `path`, mapped into memory and not read yet, and its allowed settings."""
    content = _load(path)
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    settings = {str(name): value for name, value in content.items() if not isinstance(value, Tensor)}
    _check_settings(path, settings, allowed or {}, where="")
    for name, tensor in tensors.items():
        _check_tensor(path, name, tensor)
    return TensorFile(path, {name: tuple(t.shape) for name, t in tensors.items()}, tensors.__getitem__, settings)


def names_in(path: Path) -> set[str]:
    """Names at the top of `path`, whatever stands under them; for telling formats apart."""
    return {str(name) for name in _load(path)}


def _load(path: Path) -> Mapping[object, object]:
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpickling raises whatever the content makes it raise
        reason = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
        raise _refusal(path, f"more than tensors is in it ({reason})") from error
    if not isinstance(loaded, Mapping):
        raise _refusal(path, f"it holds a {type(loaded).__name__}, expected tensors by name")
    return cast(Mapping[object, object], loaded)


def _check_archive(path: Path) -> None:
    """Refuse anything but an archive of uncompressed parts: then nothing can be larger in memory than on the disk."""
    if not zipfile.is_zipfile(path):
        raise _refusal(path, "damaged, or of a PyTorch before 1.6")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise _refusal(path, "its parts are compressed")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise _refusal(path, "its parts claim more bytes than it has")


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise _refusal(path, f"{name} is sparse or quantised")
    if math.prod(tensor.shape) * tensor.element_size() > path.stat().st_size:
        raise _refusal(path, f"{name} claims more bytes than the file has")


def _check_settings(path: Path, found: Mapping[str, Any], allowed: Allowed, *, where: str) -> None:
    for name, value in found.items():
        kind = allowed.get(name)
        if isinstance(kind, Mapping) and isinstance(value, Mapping):
            _check_settings(path, cast(Mapping[str, Any], value), kind, where=f"{where}{name}.")
        elif kind is None or isinstance(kind, Mapping) or type(value) is not kind:
            raise _refusal(path, f"{where}{name} is a {type(value).__name__}, expected tensors")


def _refusal(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{path} is a pickle that is not opened: {reason}; {CONVERT}")
