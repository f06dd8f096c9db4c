"""Artifact folders: what rooms hand each other, with a manifest that says how each was made.

A folder is written beside its final place as `NAME.partial` and renamed when whole, so a reader never sees half of
one. An interrupted job finds its partial folder again and goes on; a folder made with other settings is refused.
Knows nothing of what the files mean.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bathyscope
from bathyscope import runtime
from bathyscope.config import canonical, to_json
from bathyscope.errors import ArtifactError, BathyscopeError, DeviceError
from bathyscope.files import TEMPORARY, read_json, sha256, sync, url_of, write_atomic

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
RECIPE = "recipe.json"
CHECKPOINT = "checkpoint"
STATE = "state.json"
LOCK = ".lock"
UNHASHED = ("run.jsonl",)
"""Files that hold wall-clock figures: kept in the folder, left out of its digest."""
LEFTOVERS = (RECIPE, LOCK)
"""Files of the making, removed right after the final rename; a crash in between may leave them, unlisted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides an artifact's bytes."""

    kind: str
    """What the folder is: activations, dictionary, features, explanations, generations, scores, …"""
    schema: int = 1
    """Version of the file layout of this kind."""
    config: Any
    """The settings as given (a frozen dataclass, or plain JSON data)."""
    seed: int | None = None
    """Seed of every draw, or None when nothing is drawn."""
    parents: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Artifact folders that were read, by role."""
    materials: tuple[Mapping[str, str], ...] = ()
    """Models and texts used: name, version, sha256, licence, origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A finished folder's `manifest.json`."""

    kind: str
    schema: int
    version: str
    config: Any
    seed: int | None
    parents: Mapping[str, Mapping[str, str]]
    """Role → {kind, digest, path as seen from the folder that holds this one}."""
    materials: tuple[Mapping[str, str], ...]
    files: Mapping[str, Mapping[str, Any]]
    """Relative name → {sha256, bytes}."""
    digest: str
    """sha256 over kind, schema, config, seed, parents' digests, materials and file sums: equal runs, equal digests."""
    run: Mapping[str, Any]
    """Environment, seconds and peak memory of the making; not part of the digest."""


class Draft:
    """A folder being written. `path` is where files go; `checkpoint` makes it resumable."""

    def __init__(self, path: Path, started: float) -> None:
        self.path = path
        self._started = started

    @property
    def checkpoint_path(self) -> Path:
        """Subfolder for files needed only to resume; removed when the artifact is finished."""
        return self.path / CHECKPOINT

    @property
    def seconds(self) -> float:
        """Seconds of this sitting so far; earlier sittings of a resumed job are in run.jsonl."""
        return round(time.monotonic() - self._started, 3)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state (plain JSON) in one atomic step; from now on the partial folder is kept.

        Files that the state speaks of must be whole before. Files written after it are still there when the job
        resumes: it overwrites them, or cuts them back to the length that the state names.
        """
        self.checkpoint_path.mkdir(exist_ok=True)
        write_atomic(self.checkpoint_path / STATE, json.dumps(to_json(state)).encode())

    def state(self) -> dict[str, Any] | None:
        """The state last saved by `checkpoint`, or None for a fresh draft."""
        path = self.checkpoint_path / STATE
        return json.loads(path.read_bytes()) if path.exists() else None

    def log(self, **figures: Any) -> None:
        """Append wall-clock figures to `run.jsonl` (not part of the digest)."""
        row = {"seconds": self.seconds, **figures}
        with (self.path / UNHASHED[0]).open("a") as file:
            file.write(json.dumps(row) + "\n")


def is_finished(out: Path, recipe: Recipe) -> bool:
    """Whether `out` already holds the artifact that `recipe` would make (a rename that a crash cut off is made good).

    Raises ArtifactError when `out` holds something else: nothing is ever overwritten.
    """
    with runtime.disk_errors(out, doing="read"):
        place, wanted = _place(out), _recipe_json(recipe)
        partial = _partial(place)
        if _is_free(place):
            if not (partial / MANIFEST).exists() or _difference(wanted, read_json(partial / MANIFEST)):
                return False
            with _locked(partial):
                _publish(partial, place)
        if not (place / MANIFEST).exists():
            raise ArtifactError(f"{out} exists and is not a bathyscope artifact; choose another --out")
        difference = _difference(wanted, read_json(place / MANIFEST))
        if difference:
            raise ArtifactError(f"{out} was made with other settings ({difference}); choose another --out or delete it")
        _tidy(place)
    return True


@contextlib.contextmanager
def draft(out: Path, recipe: Recipe) -> Iterator[Draft]:
    """Open (or go on with) the partial folder of `out`; on a clean exit it is hashed, described and renamed to `out`.

    After an exception the partial folder stays when it holds a checkpoint, and is removed otherwise.
    Raises ArtifactError when another process writes it, its settings differ or it cannot be written, DeviceError when
    the disk is full.
    """
    if is_finished(out, recipe):
        raise ArtifactError(f"{out} is already finished")
    with runtime.disk_errors(out, doing="write"):
        place, wanted = _place(out), _recipe_json(recipe)
        partial = _partial(place)
        missing = [folder for folder in (partial, *partial.parents) if not folder.exists()]
        partial.mkdir(parents=True, exist_ok=True)
    with _locked(partial):
        work = Draft(partial, time.monotonic())
        try:
            with runtime.disk_errors(out, doing="write"):
                if not _is_free(place):
                    raise ArtifactError(f"{out} was finished by another process meanwhile")
                _claim(partial, wanted)
            yield work
            with runtime.disk_errors(out, doing="write"):
                _describe(work, recipe, wanted)
        except BaseException as error:
            if work.state() is None:
                _remove(partial, missing)
            if runtime.is_disk_full(error) and not isinstance(error, BathyscopeError):
                raise DeviceError(f"cannot write {out}: {runtime.DISK_FULL}") from error
            raise
        with runtime.disk_errors(out, doing="rename the finished folder to"):
            _publish(partial, place)


def read_manifest(path: Path, *, kind: str | None = None, schema: int = 1) -> Manifest:
    """The manifest of a finished folder.

    Raises ArtifactError when there is none, when it cannot be read, or when kind or schema are not the expected ones.
    """
    file = path / MANIFEST
    if not file.is_file():
        partial = _partial(path) if path.name else path
        hint = f"; {partial.name} is unfinished, run the same command again to resume" if partial.is_dir() else ""
        what = "has no manifest.json" if path.exists() else "does not exist"
        raise ArtifactError(f"{path} {what}: expected a bathyscope {kind or 'artifact'} folder{hint}")
    data = read_json(file)
    try:
        manifest = Manifest(**{**data, "materials": tuple(data["materials"])})
        digest = _digest(data)
    except (AttributeError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file} is not a manifest of this version: {error}") from error
    if kind is not None and manifest.kind != kind:
        raise ArtifactError(f"{path} is a folder of kind {manifest.kind!r}, expected {kind!r}")
    if kind is not None and manifest.schema != schema:
        raise ArtifactError(f"{path} has schema {manifest.schema}, this version reads {schema}; make it again")
    if digest != manifest.digest:
        raise ArtifactError(
            f"{file} was altered: its digest does not match its content; delete {path} and make it again"
        )
    return manifest


def check_file(path: Path, manifest: Manifest, name: str) -> Path:
    """The full path of file `name` after comparing its size and sha256 with the manifest.

    Raises ArtifactError naming the file when it is missing, truncated or altered.
    """
    entry, file = manifest.files.get(name), path / name
    remedy = f"delete {path} and make it again"
    if entry is None:
        raise ArtifactError(f"{path}: {name} is not listed in the manifest")
    if not file.is_file():
        raise ArtifactError(f"{file} is missing; {remedy}")
    with runtime.disk_errors(file, doing="read"):
        n_bytes = file.stat().st_size
        if n_bytes != entry["bytes"]:
            raise ArtifactError(f"{file} is truncated or altered: {n_bytes} bytes, expected {entry['bytes']}; {remedy}")
        if sha256(file) != entry["sha256"]:
            raise ArtifactError(f"{file} was altered: its sha256 is not the one in the manifest; {remedy}")
    return file


def verify(path: Path) -> Manifest:
    """The manifest of `path` after checking every file and the digest. Raises ArtifactError on the first fault."""
    manifest = read_manifest(path)
    for name in manifest.files:
        check_file(path, manifest, name)
    extra = [name for name in _made_files(path) if name not in manifest.files]
    if extra:
        raise ArtifactError(f"{path} holds files that its manifest does not list: {', '.join(extra[:5])}")
    return manifest


def _place(out: Path) -> Path:
    """The absolute folder that `out` means, with links and `..` followed, so that its partial folder is beside it."""
    if url_of(out) is not None:
        raise ArtifactError(f"{url_of(out)}: folders are made on a disk of this machine; choose a path, copy it later")
    try:
        place = out.resolve()
    except RuntimeError as error:
        raise ArtifactError(f"{out} is a link to itself; choose another --out") from error
    if not place.name or place.is_mount():
        raise ArtifactError(f"{out} is the root of a disk and cannot be replaced; name a folder inside it")
    return place


def _partial(place: Path) -> Path:
    return place.with_name(place.name + ".partial")


def _is_free(place: Path) -> bool:
    """Whether nothing is there yet, or an empty folder."""
    return not place.exists() or (place.is_dir() and not any(place.iterdir()))


def _recipe_json(recipe: Recipe) -> dict[str, Any]:
    parents = {role: read_manifest(path) for role, path in recipe.parents.items()}
    data = {
        "kind": recipe.kind,
        "schema": recipe.schema,
        "config": to_json(recipe.config),
        "seed": recipe.seed,
        "parents": {role: {"kind": m.kind, "digest": m.digest} for role, m in parents.items()},
        "materials": to_json(recipe.materials),
    }
    canonical(data)  # refuses now what could not be hashed when the work is done
    return data


def _difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The first setting in which two recipes differ, as `name: found → wanted`; empty when they agree."""
    for key in ("kind", "schema", "seed", "config", "materials"):
        text = _first_difference(key, found.get(key), wanted[key])
        if text:
            return text
    there = {role: parent["digest"] for role, parent in found.get("parents", {}).items()}
    asked = {role: parent["digest"] for role, parent in wanted["parents"].items()}
    roles = [role for role in sorted(set(there) | set(asked)) if there.get(role) != asked.get(role)]
    return f"another {roles[0]}" if roles else ""


def _first_difference(name: str, found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(set(found) | set(wanted)):
            text = _first_difference(f"{name}.{key}", found.get(key), wanted.get(key))
            if text:
                return text
        return ""
    if found == wanted:
        return ""
    return f"{name.removeprefix('config.')}: there {_short(found)}, asked {_short(wanted)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _claim(partial: Path, wanted: Mapping[str, Any]) -> None:
    """Make a partial folder ours: one with a checkpoint of the same recipe as it is, any other one emptied."""
    if (partial / CHECKPOINT / STATE).exists():
        difference = _difference(wanted, read_json(partial / RECIPE))
        if difference:
            raise ArtifactError(
                f"{partial} was begun with other settings ({difference}); delete it or choose another --out"
            )
        for cut_off in partial.rglob(f"*{TEMPORARY}"):
            cut_off.unlink()
        return
    for entry in partial.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
    write_atomic(partial / RECIPE, json.dumps(wanted).encode())


def _made_files(folder: Path) -> list[str]:
    """Sorted relative names of the files that belong to the artifact itself."""
    skip = {MANIFEST, *UNHASHED, *LEFTOVERS}
    files = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(name.as_posix() for name in files if name.as_posix() not in skip and name.parts[0] != CHECKPOINT)


def _describe(work: Draft, recipe: Recipe, wanted: Mapping[str, Any]) -> None:
    """Put every file on the disk for good and write the manifest: from here on the partial folder is whole."""
    files: dict[str, dict[str, Any]] = {}
    for name in _made_files(work.path):
        sync(work.path / name)
        files[name] = {"sha256": sha256(work.path / name), "bytes": (work.path / name).stat().st_size}
    parents = {
        role: {**wanted["parents"][role], "path": os.path.relpath(path.resolve(), work.path.parent)}
        for role, path in recipe.parents.items()
    }
    data = {**wanted, "parents": parents, "version": bathyscope.__version__, "files": files}
    data["digest"] = _digest(data)
    data["run"] = {
        "environment": runtime.environment(),
        "seconds": work.seconds,
        "peak_memory_bytes": runtime.peak_memory_bytes(),
    }
    write_atomic(work.path / MANIFEST, json.dumps(data, indent=1, sort_keys=True).encode())


def _publish(partial: Path, place: Path) -> None:
    """Rename the whole partial folder to its place (nothing, or an empty folder, is there) and drop what made it."""
    partial.rename(place)
    sync(place.parent)
    _tidy(place)


def _tidy(place: Path) -> None:
    """Drop what only the making needed; where the folder may only be read, it stays and does no harm."""
    shutil.rmtree(place / CHECKPOINT, ignore_errors=True)
    with contextlib.suppress(OSError):
        for name in LEFTOVERS:
            (place / name).unlink(missing_ok=True)


def _remove(partial: Path, made: list[Path]) -> None:
    """Remove the partial folder, and the folders above it that were made for it and are empty again."""
    shutil.rmtree(partial, ignore_errors=True)
    with contextlib.suppress(OSError):
        for folder in made[1:]:
            folder.rmdir()


def _digest(data: Mapping[str, Any]) -> str:
    content = {key: data[key] for key in ("kind", "schema", "config", "seed", "materials")}
    content["parents"] = {role: parent["digest"] for role, parent in data["parents"].items()}
    content["files"] = {name: entry["sha256"] for name, entry in data["files"].items()}
    return hashlib.sha256(canonical(content)).hexdigest()


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Hold the partial folder alone. The lock goes with the process, however that ends."""
    busy = f"{partial} is being written by another process; wait for it or stop it"
    with runtime.disk_errors(partial, doing="write"):
        try:
            file = (partial / LOCK).open("w")
        except FileNotFoundError as error:  # the other process has just finished and renamed it
            raise ArtifactError(busy) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(busy) from error
        except OSError as error:
            log.warning("%s: this disk has no file locks (%s); start one process at a time", partial, error.strerror)
        if not (partial / LOCK).exists() or not os.path.samestat(os.fstat(file.fileno()), (partial / LOCK).stat()):
            raise ArtifactError(busy)
        yield
