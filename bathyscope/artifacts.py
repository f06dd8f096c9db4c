"""Artifact folders: what rooms hand each other, with a manifest that says how each was made.

A folder is written beside its final place as `NAME.partial` and renamed when whole, so a reader never sees half of
one. An interrupted job finds its partial folder again and goes on; a folder made with other settings is refused.
Knows nothing of what the files mean.
"""

import contextlib
import fcntl
import hashlib
import json
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
from bathyscope.errors import ArtifactError

MANIFEST = "manifest.json"
RECIPE = "recipe.json"
CHECKPOINT = "checkpoint"
UNHASHED = ("run.jsonl",)
"""Files that hold wall-clock figures: kept in the folder, left out of its digest."""


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

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state (plain JSON) in one atomic step; from now on the partial folder is kept."""
        self.checkpoint_path.mkdir(exist_ok=True)
        write_atomic(self.checkpoint_path / "state.json", json.dumps(to_json(state)).encode())

    def state(self) -> dict[str, Any] | None:
        """The state last saved by `checkpoint`, or None for a fresh draft."""
        path = self.checkpoint_path / "state.json"
        return json.loads(path.read_bytes()) if path.exists() else None

    def log(self, **figures: Any) -> None:
        """Append wall-clock figures to `run.jsonl` (not part of the digest)."""
        row = {"seconds": round(time.monotonic() - self._started, 3), **figures}
        with (self.path / UNHASHED[0]).open("a") as file:
            file.write(json.dumps(row) + "\n")


def is_finished(out: Path, recipe: Recipe) -> bool:
    """Whether `out` already holds the artifact that `recipe` would make.

    Raises ArtifactError when `out` holds something else: nothing is ever overwritten.
    """
    if not out.exists():
        return False
    if not (out / MANIFEST).exists():
        if out.is_dir() and not any(out.iterdir()):
            return False
        raise ArtifactError(f"{out} exists and is not a bathyscope artifact; choose another --out")
    found = json.loads((out / MANIFEST).read_bytes())
    difference = _difference(_recipe_json(recipe), found)
    if difference:
        raise ArtifactError(f"{out} was made with other settings ({difference}); choose another --out or delete it")
    return True


@contextlib.contextmanager
def draft(out: Path, recipe: Recipe) -> Iterator[Draft]:
    """Open (or go on with) the partial folder of `out`; on a clean exit it is hashed, described and renamed to `out`.

    After an exception the partial folder stays when it holds a checkpoint, and is removed otherwise.
    Raises ArtifactError when another process writes it or its settings differ.
    """
    if is_finished(out, recipe):
        raise ArtifactError(f"{out} is already finished")
    partial = out.with_name(out.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    with _locked(partial):
        _claim(partial, recipe)
        work = Draft(partial, time.monotonic())
        try:
            yield work
        except BaseException:
            if work.state() is None:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        _finish(work, recipe)
        if out.exists():
            out.rmdir()
        partial.rename(out)
        _sync(out.parent)


def read_manifest(path: Path, *, kind: str | None = None, schema: int = 1) -> Manifest:
    """The manifest of a finished folder.

    Raises ArtifactError when there is none, when it cannot be read, or when kind or schema are not the expected ones.
    """
    file = path / MANIFEST
    if not file.exists():
        partial = path.with_name(path.name + ".partial")
        hint = f"; {partial.name} is unfinished, run the same command again to resume" if partial.exists() else ""
        what = "has no manifest.json" if path.exists() else "does not exist"
        raise ArtifactError(f"{path} {what}: expected a bathyscope {kind or 'artifact'} folder{hint}")
    try:
        data = json.loads(file.read_bytes())
        manifest = Manifest(**{**data, "materials": tuple(data["materials"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file} cannot be read: {error}") from error
    if kind is not None and manifest.kind != kind:
        raise ArtifactError(f"{path} is a folder of kind {manifest.kind!r}, expected {kind!r}")
    if kind is not None and manifest.schema != schema:
        raise ArtifactError(f"{path} has schema {manifest.schema}, this version reads {schema}; make it again")
    return manifest


def check_file(path: Path, manifest: Manifest, name: str) -> Path:
    """The full path of file `name` after comparing its size and sha256 with the manifest.

    Raises ArtifactError naming the file when it is missing, truncated or altered.
    """
    entry, file = manifest.files.get(name), path / name
    if entry is None:
        raise ArtifactError(f"{path}: {name} is not listed in the manifest")
    if not file.exists():
        raise ArtifactError(f"{file} is missing; make {path} again")
    if file.stat().st_size != entry["bytes"]:
        raise ArtifactError(f"{file} is truncated or altered: {file.stat().st_size} bytes, expected {entry['bytes']}")
    if sha256(file) != entry["sha256"]:
        raise ArtifactError(f"{file} was altered: its sha256 is not the one in the manifest")
    return file


def verify(path: Path) -> Manifest:
    """The manifest of `path` after checking every file and the digest. Raises ArtifactError on the first fault."""
    manifest = read_manifest(path)
    for name in manifest.files:
        check_file(path, manifest, name)
    known = set(manifest.files) | {MANIFEST, *UNHASHED}
    stray = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    extra = [name for name in stray if name not in known]
    if extra:
        raise ArtifactError(f"{path} holds files that its manifest does not list: {', '.join(extra[:5])}")
    if _digest(json.loads((path / MANIFEST).read_bytes())) != manifest.digest:
        raise ArtifactError(f"{path / MANIFEST} was altered: its digest does not match its content")
    return manifest


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(file: Path, data: bytes) -> None:
    """Write `data` so that a reader (or a crash) sees the old content or the new, never a part."""
    temporary = file.with_name(file.name + ".tmp")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _recipe_json(recipe: Recipe) -> dict[str, Any]:
    parents = {role: read_manifest(path) for role, path in recipe.parents.items()}
    return {
        "kind": recipe.kind,
        "schema": recipe.schema,
        "config": to_json(recipe.config),
        "seed": recipe.seed,
        "parents": {role: {"kind": m.kind, "digest": m.digest} for role, m in parents.items()},
        "materials": to_json(recipe.materials),
    }


def _difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The first setting in which two recipes differ, as `name: found → wanted`; empty when they agree."""
    for key in ("kind", "schema", "seed", "config", "materials"):
        text = _first_difference(key, found.get(key), wanted[key])
        if text:
            return text
    for role, parent in wanted["parents"].items():
        if found.get("parents", {}).get(role, {}).get("digest") != parent["digest"]:
            return f"another {role}"
    return ""


def _first_difference(name: str, found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(set(found) | set(wanted)):
            text = _first_difference(key, found.get(key), wanted.get(key))
            if text:
                return text
        return ""
    if found == wanted:
        return ""
    return f"{name}: there {_short(found)}, asked {_short(wanted)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _claim(partial: Path, recipe: Recipe) -> None:
    """Write the recipe into a fresh partial folder, or compare it with the one that is there."""
    file = partial / RECIPE
    wanted = _recipe_json(recipe)
    if file.exists():
        difference = _difference(wanted, json.loads(file.read_bytes()))
        if not difference:
            return
        if (partial / CHECKPOINT / "state.json").exists():
            raise ArtifactError(
                f"{partial} was begun with other settings ({difference}); delete it or choose another --out"
            )
    write_atomic(file, json.dumps(wanted).encode())


def _finish(work: Draft, recipe: Recipe) -> None:
    shutil.rmtree(work.checkpoint_path, ignore_errors=True)
    (work.path / RECIPE).unlink()
    skip = {MANIFEST, ".lock", *UNHASHED}
    names = sorted(p.relative_to(work.path).as_posix() for p in work.path.rglob("*") if p.is_file())
    files = {n: {"sha256": sha256(work.path / n), "bytes": (work.path / n).stat().st_size} for n in names if n not in skip}
    data = {**_recipe_json(recipe), "version": bathyscope.__version__, "files": files}
    for role, path in recipe.parents.items():
        data["parents"][role]["path"] = os.path.relpath(path.absolute(), work.path.absolute().parent)
    data["digest"] = _digest(data)
    data["run"] = {
        "environment": runtime.environment(),
        "seconds": _seconds(work),
        "peak_memory_bytes": runtime.peak_memory_bytes(),
    }
    write_atomic(work.path / MANIFEST, json.dumps(data, indent=1, sort_keys=True).encode())
    (work.path / ".lock").unlink(missing_ok=True)


def _seconds(work: Draft) -> float:
    """Seconds of the last sitting; earlier sittings of a resumed job are in run.jsonl."""
    return round(time.monotonic() - work._started, 3)  # noqa: SLF001  (the same file's own class)


def _digest(data: Mapping[str, Any]) -> str:
    content = {key: data[key] for key in ("kind", "schema", "config", "seed", "materials")}
    content["parents"] = {role: parent["digest"] for role, parent in data["parents"].items()}
    content["files"] = {name: entry["sha256"] for name, entry in data["files"].items()}
    return hashlib.sha256(canonical(content)).hexdigest()


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    with (partial / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ArtifactError(f"{partial} is being written by another process; wait for it or stop it") from error
        yield


def _sync(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
