"""Writing a dictionary as another tool's folder: which format can hold what, and nothing written where it cannot.

Formats hold less than a dictionary folder of ours (no manifest, no observed maxima): keep the original too.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from bathyscope import runtime
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.formats import to_dictionary_learning, to_saelens, to_sparsify
from bathyscope.errors import ArtifactError, ConfigError

Format = Literal["saelens", "sparsify", "dictionary_learning"]
"""Formats of other tools that are written."""

_WRITERS: dict[str, Callable[[Dictionary, Path], None]] = {
    "saelens": to_saelens.write,
    "sparsify": to_sparsify.write,
    "dictionary_learning": to_dictionary_learning.write,
}


def write_foreign(dictionary: Dictionary, path: Path, format: Format) -> None:  # noqa: A002
    """Write `dictionary` as a folder of `format` at `path`, whole or not at all.

    Raises ConfigError, before anything is written, when the format cannot express the dictionary; ArtifactError when
    `path` is taken.
    """
    if format not in _WRITERS:
        raise ConfigError(f"there is no format {format!r} to write; expected one of: {', '.join(_WRITERS)}")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ArtifactError(f"{path} exists; choose another place or delete it")
    partial = path.with_name(path.name + ".partial")
    with runtime.disk_errors(path, doing="write"):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _WRITERS[format](dictionary, partial)
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
