"""Columns of JSONL, CSV, TSV and Parquet files: one row is one document.

A cell is a string, or a list of `{"role": …, "content": …}` turns. Random order costs no more memory than the line
offsets (JSONL), one row group (Parquet) or the column (CSV).
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from bathyscope.activations.document import Document, Message, require_column
from bathyscope.activations.files import sha256_of_files
from bathyscope.errors import ConfigError

BLOCK_ROWS = 1024
"""Rows turned into Python objects at once."""
CSV_BLOCK_BYTES = 1 << 26
"""Largest CSV record that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """A column of JSONL files."""

    name: str
    paths: tuple[Path, ...]
    column: str

    def record(self) -> dict[str, str]:
        """Provenance with the checksum of the files."""
        return _record(self.name, self.paths)

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """One document per line; a blank line or one without the column counts as empty."""
        places = [_line_offsets(path) for path in self.paths]
        of_file = np.repeat(np.arange(len(places)), [len(offsets) for offsets in places])
        line = np.concatenate([np.arange(len(offsets)) for offsets in places])
        offset = np.concatenate(places)
        order = np.arange(len(offset)) if rng is None else rng.permutation(len(offset))
        files = [path.open("rb") for path in self.paths]
        try:
            for i in order:
                path, number = self.paths[of_file[i]], int(line[i]) + 1
                files[of_file[i]].seek(int(offset[i]))
                data = files[of_file[i]].readline()
                row = _parse(data, where=f"{path.name}, line {number}") if data.strip() else {}
                yield as_document(row.get(self.column), where=f"{path.name}:{self.column} #{number}")
        finally:
            for file in files:
                file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parquet:
    """A column of Parquet files. The drawn order mixes row groups, and rows inside each."""

    name: str
    paths: tuple[Path, ...]
    column: str

    def record(self) -> dict[str, str]:
        """Provenance with the checksum of the files."""
        return _record(self.name, self.paths)

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """One document per row; a null counts as empty."""
        sizes = [_group_sizes(path) for path in self.paths]
        groups = [(f, g) for f, group_sizes in enumerate(sizes) for g in range(len(group_sizes))]
        for i in range(len(groups)) if rng is None else rng.permutation(len(groups)):
            file, group = groups[int(i)]
            with pq.ParquetFile(self.paths[file]) as table:
                column = table.read_row_group(group, columns=[self.column]).column(0)
            where = f"{self.paths[file].name}:{self.column}"
            yield from column_documents(column, where=where, first=int(sizes[file][:group].sum()), rng=rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class Csv:
    """A column of CSV or TSV files with a header."""

    name: str
    paths: tuple[Path, ...]
    column: str
    line_break: str = ""
    """What stands for a line break inside a cell, if not a line break."""

    def record(self) -> dict[str, str]:
        """Provenance with the checksum of the files."""
        return _record(self.name, self.paths)

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """One document per row."""
        for i in range(len(self.paths)) if rng is None else rng.permutation(len(self.paths)):
            column = _csv_column(self.paths[int(i)], self.column)
            where = self.name if len(self.paths) == 1 else f"{self.paths[int(i)].name}:{self.column}"
            for document in column_documents(column, where=where, rng=rng):
                if self.line_break:
                    yield Document(document.text.replace(self.line_break, "\n"), document.source)
                else:
                    yield document


def open_table(paths: tuple[Path, ...], column: str) -> JsonLines | Parquet | Csv:
    """The column of tables of one kind. Raises ConfigError when a file is no such table or lacks the column."""
    name = f"{paths[0].name}:{column}" if len(paths) == 1 else f"{len(paths)} × *{paths[0].suffix}:{column}"
    for path in paths:
        require_column(column, _columns(path), where=path.name)
    match paths[0].suffix.lower():
        case ".parquet":
            return Parquet(name=name, paths=paths, column=column)
        case ".csv" | ".tsv":
            return Csv(name=name, paths=paths, column=column)
        case _:
            return JsonLines(name=name, paths=paths, column=column)


def column_documents(
    column: pa.ChunkedArray, *, where: str, first: int = 0, rng: np.random.Generator | None
) -> Iterator[Document]:
    """The cells of an Arrow column as documents, a block at a time; labels count rows from `first` + 1."""
    order = np.arange(len(column)) if rng is None else rng.permutation(len(column))
    for start in range(0, len(order), BLOCK_ROWS):
        block = order[start : start + BLOCK_ROWS]
        cells = column.take(pa.array(block)).to_pylist()
        yield from (as_document(c, where=f"{where} #{first + int(i) + 1}") for i, c in zip(block, cells, strict=True))


def as_document(cell: object, *, where: str) -> Document:
    """A cell as a document: a string, None (empty) or a list of turns. Raises ConfigError for anything else."""
    match cell:
        case None:
            return Document("", where)
        case str():
            return Document(cell, where)
        case list() if cell and all(_is_message(turn) for turn in cast(list[object], cell)):
            turns = tuple(cast(list[Message], cell))
            messages = tuple({"role": turn["role"], "content": turn["content"]} for turn in turns)
            return Document("\n\n".join(turn["content"] for turn in turns), where, messages)
        case _:
            raise ConfigError(
                f"{where} holds {type(cell).__name__}, expected text or a list of turns with role and content; "
                "name another column"
            )


def _is_message(turn: object) -> bool:
    if not isinstance(turn, dict):
        return False
    fields = cast(dict[object, object], turn)
    return isinstance(fields.get("role"), str) and isinstance(fields.get("content"), str)


def _record(name: str, paths: tuple[Path, ...]) -> dict[str, str]:
    checksum = sha256_of_files(Path(os.path.commonpath([path.parent for path in paths])), paths)
    return {"name": name, "version": "", "sha256": checksum, "licence": "not stated", "origin": "local files"}


def _columns(path: Path) -> list[str]:
    try:
        match path.suffix.lower():
            case ".parquet":
                return list(pq.read_schema(path).names)
            case ".csv" | ".tsv":
                with pyarrow.csv.open_csv(path, **_csv_options(path, [])) as reader:
                    return list(reader.schema.names)
            case _:
                with path.open("rb") as file:
                    first = next((line for line in file if line.strip()), b"")
                return list(_parse(first, where=f"{path.name}, line 1")) if first else []
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error


def _line_offsets(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        sizes = np.fromiter((len(line) for line in file), dtype=np.int64)
    return np.cumsum(sizes) - sizes


def _parse(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: expected a JSON object, found {type(row).__name__}")
    return cast(dict[str, Any], row)


def _group_sizes(path: Path) -> np.ndarray:
    data = pq.read_metadata(path)
    return np.array([data.row_group(i).num_rows for i in range(data.num_row_groups)], dtype=np.int64)


def _csv_column(path: Path, column: str) -> pa.ChunkedArray:
    try:
        return pyarrow.csv.read_csv(path, **_csv_options(path, [column])).column(0)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error


def _csv_options(path: Path, columns: list[str]) -> dict[str, Any]:
    return {
        "read_options": pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True
        ),
        "convert_options": pyarrow.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.large_string()), strings_can_be_null=False
        ),
    }
