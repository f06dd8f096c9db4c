"""Columns of `features.parquet` and `examples.parquet`, and their writing.

Row groups are small and in order of the feature, so that one feature's page reads one of each.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES_FILE = "features.parquet"
EXAMPLES_FILE = "examples.parquet"
TOKENS_FILE = "tokens.npy"
DOCUMENTS_FILE = "documents.npy"
VOCABULARY_FILE = "vocabulary.parquet"
STRINGS_FILE = "token_strings.json"
"""[id, text] of every token that the index mentions, each on its own: for readers without Parquet."""
WORDS_FILE = "corpus_words.parquet"
"""Words of all the text that the store holds, not only of the indexed documents: what vocabularies are made of."""
SOURCES_FILE = "sources.json"
SUMMARY_FILE = "summary.json"

FEATURES_PER_GROUP = 64
"""Features of one row group of `features.parquet`."""
EXAMPLES_PER_GROUP = 16
"""Features whose examples make one row group of `examples.parquet`."""

FEATURES = pa.schema(
    [
        ("feature", pa.int32()),
        ("density", pa.float64()),
        ("density_low", pa.float64()),
        ("density_high", pa.float64()),
        ("n_fires", pa.int64()),
        ("max", pa.float32()),
        ("mean", pa.float32()),
        ("std", pa.float32()),
        ("q50", pa.float32()),
        ("q90", pa.float32()),
        ("q99", pa.float32()),
        ("histogram", pa.list_(pa.int64())),
        ("top_tokens", pa.list_(pa.int32())),
        ("top_logits", pa.list_(pa.float32())),
        ("bottom_tokens", pa.list_(pa.int32())),
        ("bottom_logits", pa.list_(pa.float32())),
        ("neighbours", pa.list_(pa.int32())),
        ("neighbour_cosines", pa.list_(pa.float32())),
        ("cofiring", pa.list_(pa.int32())),
        ("cofiring_scores", pa.list_(pa.float32())),
    ]
)
EXAMPLES = pa.schema(
    [
        ("feature", pa.int32()),
        ("group", pa.string()),
        ("rank", pa.int16()),
        ("document", pa.int32()),
        ("token", pa.int64()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("value", pa.float32()),
        ("values", pa.list_(pa.float32())),
    ]
)


class TableWriter:
    """A Parquet file that is written block by block, in row groups of a fixed number of features."""

    def __init__(self, file: Path, schema: pa.Schema, *, features_per_group: int) -> None:
        self._schema, self._per_group = schema, features_per_group
        options: dict[str, Any] = {"use_dictionary": ["group"], "write_statistics": ["feature"]}
        self._writer = pq.ParquetWriter(file, schema, compression="zstd", **options)

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, columns: dict[str, Any]) -> None:
        """Append rows; `columns["feature"]` rises and starts where a row group starts."""
        arrays = [
            pa.array(columns[f.name], f.type) if not _is_arrow(columns[f.name]) else columns[f.name]
            for f in self._schema
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        group = np.asarray(columns["feature"]) // self._per_group
        edges = np.append(np.flatnonzero(np.diff(group, prepend=-1)), len(group))
        for first, last in itertools.pairwise(edges):
            self._writer.write_table(table.slice(int(first), int(last - first)))


def lists(flat: np.ndarray, offsets: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    """A list column from all its entries one after the other and where each list begins (with the end)."""
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(flat, kind))


def rectangle(values: np.ndarray, kind: pa.DataType, *, valid: np.ndarray | None = None) -> pa.ListArray:
    """A list column from a matrix, without the entries that are not `valid` (a mask of the same shape)."""
    mask = np.ones(values.shape, dtype=bool) if valid is None else valid
    offsets = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    return lists(values[mask], offsets, kind)


def group_ranges(file: pq.ParquetFile) -> tuple[np.ndarray, np.ndarray]:
    """First and last feature of each row group, from the file's own statistics."""
    meta = file.metadata
    column = meta.schema.names.index("feature")
    found = [meta.row_group(i).column(column).statistics for i in range(meta.num_row_groups)]
    return np.array([s.min for s in found], dtype=np.int64), np.array([s.max for s in found], dtype=np.int64)


def read_feature(file: pq.ParquetFile, ranges: tuple[np.ndarray, np.ndarray], feature: int) -> Sequence[dict[str, Any]]:
    """The rows of one feature; reads one row group, and none when there is no row."""
    group = int(np.searchsorted(ranges[1], feature))
    if group == len(ranges[1]) or ranges[0][group] > feature:
        return []
    table = file.read_row_group(group)
    column = table["feature"].to_numpy()
    first, last = np.searchsorted(column, [feature, feature + 1])
    return table.slice(int(first), int(last - first)).to_pylist()


def _is_arrow(column: Any) -> bool:
    return isinstance(column, pa.Array)
