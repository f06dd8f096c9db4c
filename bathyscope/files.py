"""Single files: hashed, read as JSON, written so that no reader or crash meets half of one."""

import hashlib
import json
import os
import re
import typing
from pathlib import Path
from typing import Any

from bathyscope.errors import ArtifactError
from bathyscope.runtime import disk_errors

TEMPORARY = ".tmp"
"""Ending of a file that `write_atomic` has not renamed yet."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")


def url_of(place: str | Path) -> str | None:
    """`place` as an address if it begins with a protocol such as `s3://`, of which a path keeps one slash, or None."""
    found = _SCHEME.fullmatch(str(place))
    if found is None:
        return None
    scheme, rest = found.groups()
    return f"{scheme}:///{rest}" if scheme == "file" else f"{scheme}://{rest}"


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of(data: bytes) -> str:
    """Hexadecimal sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises ArtifactError naming the file when it holds anything else."""
    try:
        with disk_errors(file, doing="read"):
            data = json.loads(file.read_bytes())
    except ValueError as error:
        raise ArtifactError(f"{file} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise ArtifactError(f"{file} is damaged: expected a JSON object, found {type(data).__name__}")
    return typing.cast(dict[str, Any], data)


def write_atomic(file: Path, data: bytes) -> None:
    """Write `data` so that a reader (or a crash) sees the old content or the new, never a part."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Make a file's content, or a rename in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
