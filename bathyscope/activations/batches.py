"""Shuffled batches of a store, for training: reproducible, resumable, every row once per epoch.

A row is what belongs to one token: its activation at one hookpoint, or several activations side by side.
Rows that fit into memory are loaded once and shuffled as a whole. Otherwise shards are read one after another in a
drawn order into a buffer, from which half is handed out at random before it is filled up again; only row numbers are
needed to know what comes next, so a resumed stream reads nothing twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.activations.store import ActivationStore, Split
from bathyscope.errors import ConfigError

READ_ROWS = 16_384
"""Rows read at once into the buffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPosition:
    """Where a stream stands; plain JSON through `config.to_json`."""

    epoch: int = 0
    """Epochs finished."""
    batch: int = 0
    """Batches of this epoch handed out."""


@runtime_checkable
class Shuffle(Protocol):
    """Hands out the rows of one epoch in a drawn order."""

    def epoch(self, number: int, *, first_batch: int) -> Iterator[Float[Tensor, "B D"]]:
        """The batches of an epoch behind the first `first_batch` ones, in the stored type."""
        ...


class BatchStream:
    """An iterator of [B, D] tensors that knows where it stands. The last batch of an epoch may be smaller."""

    def __init__(
        self, shuffle: Shuffle, *, n_batches: int, epochs: int | None, start: BatchPosition, dtype: torch.dtype
    ) -> None:
        self.n_batches = n_batches
        """Batches of one epoch."""
        self._shuffle, self._epochs, self._dtype = shuffle, epochs, dtype
        self._position = start
        self._current: Iterator[Tensor] | None = None

    def position(self) -> BatchPosition:
        """Where to start again so that the next batch is the one that would come now."""
        return self._position

    def __iter__(self) -> "BatchStream":
        return self

    def __next__(self) -> Float[Tensor, "B D"]:
        if self._position.batch == self.n_batches:
            self._position, self._current = BatchPosition(epoch=self._position.epoch + 1), None
        if self._epochs is not None and self._position.epoch >= self._epochs:
            raise StopIteration
        if self._current is None:
            self._current = self._shuffle.epoch(self._position.epoch, first_batch=self._position.batch)
        x_BD = next(self._current)
        self._position = BatchPosition(epoch=self._position.epoch, batch=self._position.batch + 1)
        return x_BD.to(self._dtype)


def batches(
    store: ActivationStore,
    *,
    batch_size: int,
    hookpoint: str | Sequence[str] | None = None,
    split: Split = "train",
    seed: int = 0,
    epochs: int | None = None,
    start: BatchPosition | None = None,
    dtype: torch.dtype = torch.float32,
    memory_limit_mb: float = 1500.0,
) -> BatchStream:
    """Batches of the rows of one split, in an order drawn anew for every epoch; without end when `epochs` is None.

    Several hookpoints lie side by side in the order given: [B, ΣD]. The same store, settings and seed give the same
    batches; `memory_limit_mb` counts among the settings when the rows do not fit into it. Raises ConfigError for an
    empty split or settings out of range.
    """
    rows = HookpointRows(store, hookpoint)
    return shuffled(
        rows,
        batch_size=batch_size,
        split=split,
        seed=seed,
        epochs=epochs,
        start=start,
        dtype=dtype,
        memory_limit_mb=memory_limit_mb,
    )


@runtime_checkable
class Rows(Protocol):
    """Rows that can be read by number, in shards that are best read one after another."""

    @property
    def path(self) -> Path:
        """The folder, for messages."""
        ...

    @property
    def n_documents(self) -> int:
        """Documents in the folder, for messages."""
        ...

    @property
    def width(self) -> int:
        """Columns of a row."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Stored type."""
        ...

    def rows(self, split: Split = "train") -> Int[np.ndarray, " N"]:
        """Row numbers of a split, ascending."""
        ...

    def shard_of(self, rows: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        """Number of the shard that holds each row."""
        ...

    def read_rows(self, rows: Int[np.ndarray, " N"]) -> Float[Tensor, "N W"]:
        """The given rows in the stored type."""
        ...


class HookpointRows:
    """Rows of a store at one hookpoint, or at several side by side."""

    def __init__(self, store: ActivationStore, hookpoint: str | Sequence[str] | None) -> None:
        """Raises ConfigError for a hookpoint that the store does not have."""
        asked = [hookpoint] if hookpoint is None or isinstance(hookpoint, str) else hookpoint
        self._store, self._names = store, [store.hookpoint(name) for name in asked]
        self.path, self.n_documents, self.dtype = store.path, store.n_documents, store.dtype
        self.width = sum(store.d_model(name) for name in self._names)

    def rows(self, split: Split = "train") -> Int[np.ndarray, " N"]:
        """Row numbers of a split, ascending."""
        return self._store.rows(split)

    def shard_of(self, rows: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        """Number of the shard that holds each row."""
        return self._store.shard_of(rows)

    def read_rows(self, rows: Int[np.ndarray, " N"]) -> Float[Tensor, "N W"]:
        """The given rows in the stored type."""
        parts = [self._store.read(rows, name, dtype=None) for name in self._names]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def shuffled(
    source: Rows,
    *,
    batch_size: int,
    split: Split = "train",
    seed: int = 0,
    epochs: int | None = None,
    start: BatchPosition | None = None,
    dtype: torch.dtype = torch.float32,
    memory_limit_mb: float = 1500.0,
) -> BatchStream:
    """Batches of any rows, see `batches`."""
    if batch_size < 1 or memory_limit_mb <= 0 or seed < 0:
        raise ConfigError(f"batch_size {batch_size}, memory_limit_mb {memory_limit_mb} or seed {seed} is out of range")
    rows = source.rows(split)
    if not len(rows):
        raise ConfigError(
            f"{source.path} has no rows in its {split} split ({source.n_documents} documents); collect more documents, "
            "or cut long ones with a lower packing.max_document_chars"
        )
    limit = int(memory_limit_mb * 1e6 / (source.width * source.dtype.itemsize))
    shuffle: Shuffle = (
        WholeShuffle(source, rows, batch_size=batch_size, seed=seed)
        if len(rows) <= limit
        else BufferedShuffle(source, rows, batch_size=batch_size, seed=seed, capacity=limit)
    )
    n_batches = -(-len(rows) // batch_size)
    return BatchStream(shuffle, n_batches=n_batches, epochs=epochs, start=start or BatchPosition(), dtype=dtype)


class WholeShuffle:
    """All rows in memory, a new permutation every epoch."""

    def __init__(self, source: Rows, rows: Int[np.ndarray, " N"], *, batch_size: int, seed: int) -> None:
        self._x_ND = source.read_rows(rows)
        self._batch_size, self._seed = batch_size, seed

    def epoch(self, number: int, *, first_batch: int) -> Iterator[Float[Tensor, "B D"]]:
        """Batches of a permutation drawn from (seed, epoch)."""
        order = torch.from_numpy(np.random.default_rng([self._seed, number]).permutation(len(self._x_ND)))
        for start in range(first_batch * self._batch_size, len(order), self._batch_size):
            yield self._x_ND[order[start : start + self._batch_size]]


class BufferedShuffle:
    """A buffer of `capacity` rows that is filled shard after shard and handed out by halves.

    Each round fills the free places with the next rows of the epoch's drawn order of shards, draws half of all places
    (whole batches) and hands their rows out; the last round hands out all.
    """

    def __init__(self, source: Rows, rows: Int[np.ndarray, " N"], *, batch_size: int, seed: int, capacity: int) -> None:
        self._source, self._rows = source, rows
        self._batch_size, self._seed = batch_size, seed
        self._capacity = max(2 * batch_size, capacity)
        self._batches_per_round = self._capacity // 2 // batch_size
        self._buffer_CD = torch.empty(self._capacity, source.width, dtype=source.dtype)

    def epoch(self, number: int, *, first_batch: int) -> Iterator[Float[Tensor, "B D"]]:
        """Batches in an order drawn from (seed, epoch); rounds that are over already cost no reading."""
        left, is_loaded = first_batch * self._batch_size, False
        for held_C, fresh_M, out_N in self._rounds(number):
            if left >= len(out_N):
                left -= len(out_N)
                continue
            self._load(held_C, fresh_M if is_loaded else np.flatnonzero(held_C >= 0))
            is_loaded = True
            for start in range(left, len(out_N), self._batch_size):
                yield self._buffer_CD[torch.from_numpy(out_N[start : start + self._batch_size])]
            left = 0

    def _rounds(
        self, epoch: int
    ) -> Iterator[tuple[Int[np.ndarray, " C"], Int[np.ndarray, " M"], Int[np.ndarray, " N"]]]:
        """(row held by each place or -1, places filled in this round, places handed out in order), in numbers alone."""
        rng = np.random.default_rng([self._seed, epoch])
        order_N = self._reading_order(rng)
        held_C = np.full(self._capacity, -1, np.int64)
        n_read, share = 0, self._batches_per_round * self._batch_size
        while n_read < len(order_N) or (held_C >= 0).any():
            free = np.flatnonzero(held_C < 0)
            fresh = free[: len(order_N) - n_read]
            held_C[fresh] = order_N[n_read : n_read + len(fresh)]
            n_read += len(fresh)
            full = rng.permutation(np.flatnonzero(held_C >= 0))
            out = full if n_read == len(order_N) else full[:share]
            yield held_C, fresh, out
            held_C[out] = -1

    def _reading_order(self, rng: np.random.Generator) -> Int[np.ndarray, " N"]:
        """The rows shard by shard: shards in a drawn order, rows ascending inside each."""
        shards_N = self._source.shard_of(self._rows)
        present, starts = np.unique(shards_N, return_index=True)
        runs = np.split(self._rows, starts[1:])
        return np.concatenate([runs[i] for i in rng.permutation(len(present))])

    def _load(self, held_C: Int[np.ndarray, " C"], places: Int[np.ndarray, " M"]) -> None:
        """Read the rows of `places` into the buffer, a piece at a time."""
        for start in range(0, len(places), READ_ROWS):
            piece = places[start : start + READ_ROWS]
            self._buffer_CD[torch.from_numpy(piece)] = self._source.read_rows(held_C[piece])
