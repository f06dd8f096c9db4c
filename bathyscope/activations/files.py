"""Plain text files and folders of them: one file is one document.

Hidden files are skipped, so are files that are no text; both without reading more than needed. Tables (JSONL, CSV,
Parquet) belong to `tables`.
"""

import codecs
import hashlib
import io
import logging
import os
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bathyscope.activations.document import Document, cut, fault
from bathyscope.errors import ConfigError
from bathyscope.files import sha256
from bathyscope.runtime import disk_errors

log = logging.getLogger(__name__)

TABLE_SUFFIXES = (".jsonl", ".ndjson", ".parquet", ".csv", ".tsv")
"""Files with columns; a folder's are skipped unless they are named with their column."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""First bytes → encoding; the longer marks come before the shorter ones that they begin with."""

CONTROL_BYTES = frozenset(range(32)) - frozenset(b"\t\n\r\f\b\x1b")
"""Bytes that no text holds in any encoding that extends ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFiles:
    """Files that are read whole: a single one, a folder's, or what a glob matches."""

    name: str
    """What a manifest calls them."""
    root: Path
    """Folder that their labels are relative to."""
    paths: tuple[Path, ...]
    """The files, sorted."""
    max_chars: int = 0
    """Cut files into documents of at most this many characters before their order is drawn; 0 keeps them whole."""
    version: str = ""
    """Version for the record."""
    licence: str = "not stated"
    """Licence for the record."""
    origin: str = "local files"
    """Origin for the record."""

    def record(self) -> dict[str, str]:
        """Provenance; the checksum covers names and contents of all files."""
        return {
            "name": self.name,
            "version": self.version,
            "sha256": sha256_of_files(self.root, self.paths),
            "licence": self.licence,
            "origin": self.origin,
        }

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """One document per file that is text; the others are counted in one log line."""
        paths = self.paths if rng is None else [self.paths[i] for i in rng.permutation(len(self.paths))]
        if not self.max_chars:
            yield from self._read(paths)
            return
        pieces = [piece for document in self._read(self.paths) for piece in cut(document, limit=self.max_chars)]
        order = np.arange(len(pieces)) if rng is None else rng.permutation(len(pieces))
        yield from (pieces[i] for i in order)

    def _read(self, paths: Sequence[Path]) -> Iterator[Document]:
        n_skipped, first = 0, ""
        for path in paths:
            text, label = _read_text(path), path.relative_to(self.root).as_posix()
            if text is None:
                n_skipped, first = n_skipped + 1, first or label
                continue
            yield Document(text, f"{self.name}/{label}" if len(self.paths) > 1 else self.name)
        if n_skipped:
            log.warning("%s: skipped %d files that are not text, such as %s", self.name, n_skipped, first)


def open_files(paths: Sequence[Path]) -> TextFiles:
    """The text files `paths`, one document each. Raises ConfigError when a single one is binary or empty."""
    if len(paths) > 1:
        root = Path(os.path.commonpath([path.parent for path in paths]))
        return TextFiles(name=root.resolve().name, root=root, paths=tuple(paths))
    path = paths[0]
    text = _read_text(path)
    if text is None:
        raise ConfigError(f"{path} is not a text file; convert it to UTF-8 text first")
    if fault(text):
        raise ConfigError(f"{path} holds no text: the file is {fault(text)}")
    return TextFiles(name=path.name, root=path.parent, paths=(path,))


def open_folder(path: Path) -> TextFiles:
    """All text files below `path`, sorted by name, hidden ones left out. Raises ConfigError when there are none."""
    paths = visible_files(path)
    tables = [file for file in paths if file.suffix.lower() in TABLE_SUFFIXES]
    texts = tuple(file for file in paths if file.suffix.lower() not in TABLE_SUFFIXES)
    if tables:
        example, first = f"{path.name}/*{tables[0].suffix}:text", tables[0].name
        log.warning("%s: skipped %d tables, such as %s; name their column: %s", path, len(tables), first, example)
    if not texts:
        raise ConfigError(f"{path} holds no text files; expected a folder of .txt, .md, .py or other text files")
    return TextFiles(name=path.resolve().name, root=path, paths=texts)


def visible_files(folder: Path, *, skip: Iterable[str] = ()) -> list[Path]:
    """Files below `folder` sorted by relative name; hidden ones and folders named in `skip` are left out."""
    left_out, found = set(skip), list[Path]()
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in left_out]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted((file for file in found if file.is_file()), key=lambda file: file.relative_to(folder).as_posix())


def decode(data: bytes, *, name: str) -> str | None:
    """The text in `data`, or None when it is binary.

    A byte-order mark decides, then a Python file's coding line, then UTF-8; bytes that are neither are read as
    Latin-1 with a log line, unless they hold NUL or other control bytes, as binary files do.
    """
    marked = next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    if marked is None and b"\0" in data:
        return None
    text = _decoded(data, marked or (_python_encoding(data) if name.endswith(".py") else "utf-8"))
    if text is None and not set(data) & CONTROL_BYTES:
        log.warning("%s is not UTF-8 and is read as Latin-1", name)
        text = data.decode("latin-1")
    return text if text is None else text.replace("\r\n", "\n").replace("\r", "\n")


def sha256_of_files(root: Path, paths: Iterable[Path]) -> str:
    """One checksum for several files: over the lines `sha256 name`; of a single file, its own."""
    lines = [f"{sha256(path)} {path.relative_to(root).as_posix()}" for path in paths]
    return lines[0].split()[0] if len(lines) == 1 else hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read_text(path: Path) -> str | None:
    with disk_errors(path, doing="read"):
        return decode(path.read_bytes(), name=path.name)


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _python_encoding(data: bytes) -> str:
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:
        return "utf-8"
