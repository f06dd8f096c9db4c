"""Folders that lie elsewhere: any place that fsspec knows (`s3://…`, `gs://…`, `memory://…`), read through the cache.

The manifest says which files there are; they are copied once into the cache, under the folder's digest, and compared
with their sums when they are used, as any folder's. Nothing is written there.
"""

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from bathyscope import progress, runtime
from bathyscope.artifacts import MANIFEST
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.files import TEMPORARY, url_of


def local_folder(place: str | Path) -> Path:
    """The folder itself, or the cache's copy of one that lies elsewhere.

    Raises ConfigError for a protocol that is unknown or needs another package, ArtifactError when no whole folder is
    there or it cannot be reached, DeviceError when the disk has no room for it.
    """
    url = url_of(place)
    if url is None or url.startswith("file:"):
        return Path(place if url is None else url.removeprefix("file://"))
    try:
        return _copied(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{url} cannot be read: {error}; see fsspec's list of protocols and packages") from error
    except FileNotFoundError as error:
        raise ArtifactError(f"{url} has no {MANIFEST}, or lacks a file that it names: {error}") from error


def _copied(url: str) -> Path:
    import fsspec

    files, root = fsspec.core.url_to_fs(url)
    manifest = files.cat_file(f"{root}/{MANIFEST}")
    digest, sizes = _named(manifest, url)
    folder = runtime.cache_folder() / "folders" / digest
    missing = {name: n for name, n in sizes.items() if not (folder / name).is_file()}
    if missing:
        runtime.require_disk(folder, sum(missing.values()))
    done, total = sum(sizes.values()) - sum(missing.values()), sum(sizes.values())
    for name, n_bytes in missing.items():
        _fetch(files, f"{root}/{name}", folder / name)
        done += n_bytes
        progress.report("fetch", done, total, "bytes")
    if not (folder / MANIFEST).is_file():
        (folder / MANIFEST).write_bytes(manifest)
    return folder


def _named(manifest: bytes, url: str) -> tuple[str, dict[str, int]]:
    """The folder's digest, and the size of each file by name. Raises ArtifactError for names that lead out of it."""
    try:
        data = json.loads(manifest)
        digest, sizes = str(data["digest"]), {str(name): int(entry["bytes"]) for name, entry in data["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{url}/{MANIFEST} is no manifest of this version: {error!r}") from error
    for name in (digest, *sizes):
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/") or (name == digest and not name.isalnum()):
            raise ArtifactError(f"{url}/{MANIFEST} names {name!r}, which is no file of the folder")
    return digest, sizes


def _fetch(files: Any, source: str, file: Path) -> None:
    """Copy one file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}{TEMPORARY}")
    with files.open(source, "rb") as stream, temporary.open("wb") as target:
        shutil.copyfileobj(stream, target, 1 << 24)
    temporary.replace(file)
