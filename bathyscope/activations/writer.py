"""Writing a store as it grows: shards, and raw files that only the resumed job reads.

`save` (at any time) and `close_shard` put everything so far on the disk; the caller then saves its checkpoint with
`state`. What was written behind the last checkpoint is cut off and written again by the resumed job. When checkpoints
are made changes no byte of the finished store.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.activations.folder import INDEX
from bathyscope.activations.shards import shard_name, write_shard
from bathyscope.activations.store import COLUMNS, SOURCES
from bathyscope.files import write_atomic

COPY_BYTES = 1 << 24


class StoreWriter:
    """Shards and token columns of a store that is being collected."""

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        *,
        widths: Mapping[str, int],
        dtype: torch.dtype,
        capacity: int,
        state: Mapping[str, Any],
    ) -> None:
        """Begin a store, or go on where `state` was made (an empty mapping begins)."""
        self.n_tokens: int = state.get("tokens", 0)
        """Tokens so far, unsaved ones included."""
        self.shard_rows: list[int] = list(state.get("shard_rows", []))
        """Rows of each shard written."""
        self._folder, self._scratch, self._capacity = folder, scratch, capacity
        self._buffers = {name: torch.empty(capacity, width, dtype=dtype) for name, width in widths.items()}
        self._pending: int = state.get("pending_rows", 0)
        self._saved = self._pending
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        scratch.mkdir(exist_ok=True)
        for name, kind in COLUMNS.items():
            with self._raw(name).open("ab") as file:
                file.truncate(self.n_tokens * kind.itemsize)
        for i, buffer in enumerate(self._buffers.values()):
            _restore(self._raw(f"rows-{i}"), buffer[: self._pending])

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; speaks of files as `save` or `close_shard` left them."""
        return {"tokens": self.n_tokens, "shard_rows": self.shard_rows, "pending_rows": self._pending}

    @property
    def n_rows(self) -> int:
        """Rows so far, unflushed ones included."""
        return sum(self.shard_rows) + self._pending

    def has_room(self, n_rows: int) -> bool:
        """Whether `n_rows` more rows fit into the shard that is being filled."""
        return self._pending + n_rows <= self._capacity

    def add(
        self,
        rows: Mapping[str, Float[Tensor, "R _"]],
        *,
        tokens: Int[np.ndarray, " N"],
        documents: Int[np.ndarray, " N"],
        positions: Int[np.ndarray, " N"],
        kept: Bool[np.ndarray, " N"],
    ) -> None:
        """Append tokens, and the rows of those that are kept (`rows` holds these alone, in the stored type)."""
        n_rows = int(kept.sum())
        for name, rows_RD in rows.items():
            self._buffers[name][self._pending : self._pending + n_rows] = rows_RD
        self._pending += n_rows
        self.n_tokens += len(tokens)
        columns = {"tokens": tokens, "documents": documents, "positions": positions, "kept": kept}
        for name, column in columns.items():
            self._columns[name].append(column.astype(COLUMNS[name]))

    def save(self) -> None:
        """Put tokens, and the rows of the unfinished shard, on the disk."""
        self._save_columns()
        for i, buffer in enumerate(self._buffers.values()):
            fresh_ND = buffer[self._saved : self._pending]
            _append(self._raw(f"rows-{i}"), _integers(fresh_ND), anew=self._saved == 0)
        self._saved = self._pending

    def close_shard(self) -> None:
        """Write the shard that is being filled; the next row begins another."""
        self._save_columns()
        if self._pending:
            rows = {name: buffer[: self._pending] for name, buffer in self._buffers.items()}
            write_shard(self._folder / shard_name(len(self.shard_rows)), rows)
            self.shard_rows.append(self._pending)
            self._pending = self._saved = 0

    def finish(self, *, index: Mapping[str, object], sources: Sequence[str]) -> None:
        """Write the token columns as .npy, the document sources and the index. The last shard must be closed."""
        for name, kind in COLUMNS.items():
            _raw_to_npy(self._raw(name), self._folder / f"{name}.npy", kind, self.n_tokens)
        write_atomic(self._folder / SOURCES, json.dumps(list(sources), ensure_ascii=False, indent=0).encode())
        shards = [{"file": shard_name(i), "rows": rows} for i, rows in enumerate(self.shard_rows)]
        data = {**index, "n_rows": self.n_rows, "n_tokens": self.n_tokens, "shards": shards}
        write_atomic(self._folder / INDEX, json.dumps(data, ensure_ascii=False, indent=1).encode())

    def _save_columns(self) -> None:
        for name, parts in self._columns.items():
            if parts:
                _append(self._raw(name), np.concatenate(parts))
                parts.clear()

    def _raw(self, name: str) -> Path:
        return self._scratch / f"{name}.raw"


def tokens_by_source(scratch: Path, document_sources: Sequence[int], *, n_sources: int) -> Int[np.ndarray, " sources"]:
    """Tokens of each source, from the column of documents written so far."""
    of_document: np.ndarray = np.asarray(document_sources, dtype=np.int64)
    counts = np.zeros(n_sources, dtype=np.int64)
    with (scratch / "documents.raw").open("rb") as file:
        while block := file.read(COPY_BYTES):
            documents = np.frombuffer(block, np.int32)
            counts += np.bincount(of_document[documents], minlength=n_sources)
    return counts


def _append(file: Path, numbers: np.ndarray, *, anew: bool = False) -> None:
    with file.open("wb" if anew else "ab") as stream:
        stream.write(np.ascontiguousarray(numbers).data)
        stream.flush()
        os.fsync(stream.fileno())


def _restore(file: Path, into: Float[Tensor, "N D"]) -> None:
    """Fill `into` from the front of `file` and cut off what is behind."""
    n_bytes = into.numel() * into.element_size()
    if n_bytes:
        numbers = _integers(into)
        numbers[:] = np.fromfile(file, numbers.dtype, count=into.numel()).reshape(numbers.shape)
        os.truncate(file, n_bytes)


def _integers(x_ND: Float[Tensor, "N D"]) -> np.ndarray:
    """A view of `x_ND` that NumPy can hold whatever the type."""
    return x_ND.view(torch.int32 if x_ND.dtype == torch.float32 else torch.int16).numpy()


def _raw_to_npy(raw: Path, npy: Path, kind: np.dtype, length: int) -> None:
    """The numbers of `raw` under a NumPy header, a block at a time."""
    with raw.open("rb") as source, npy.open("wb") as target:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(target, header)
        while block := source.read(COPY_BYTES):
            target.write(block)
