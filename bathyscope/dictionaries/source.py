"""Batches of activations, from a store or from any iterable of [N, D] tensors, that can be taken up where they stopped.

Knows a store only by the few things it asks of one, so that this room imports nothing of activations.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from bathyscope.dictionaries.blocks import Block
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError


@runtime_checkable
class Stream(Protocol):
    """An iterator over [N, D] batches that knows where it is."""

    def __next__(self) -> Tensor:
        """The next batch."""
        ...

    def position(self) -> Any:
        """JSON data from which the stream goes on with the batch after the last one given."""
        ...


@runtime_checkable
class Store(Protocol):
    """Stored activations: `ActivationStore`, or anything that offers the same."""

    @property
    def path(self) -> Path:
        """The artifact folder."""
        ...

    @property
    def model_identity(self) -> Mapping[str, str]:
        """The model that was read."""
        ...

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """Model and texts used."""
        ...

    def hookpoint(self, name: str | None = None) -> str:
        """`name` checked, or the only hookpoint."""
        ...

    def rows(self, split: Any = "train") -> Sized:
        """Row numbers of a split."""
        ...

    def stream(
        self,
        *,
        batch_size: int,
        hookpoint: Any = None,
        seed: int = 0,
        epochs: int | None = None,
        position: Any = None,
    ) -> Stream:
        """Shuffled batches of the training documents, from the start or from a position; endless for epochs=None."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A store that can put several hookpoints side by side, and says what lies where."""

    @property
    def parents(self) -> Mapping[str, Path]:
        """The artifact folders it reads, by name."""
        ...

    def blocks(self, hookpoint: Any = None) -> tuple[Block, ...]:
        """Places of a batch of `stream`, in order."""
        ...


@runtime_checkable
class Adjoining(Protocol):
    """A store that can put each token beside the one before it."""

    def adjacent(self) -> Store:
        """A view with batches [previous token | token]."""
        ...


@runtime_checkable
class Described(Protocol):
    """An iterable of batches that knows where they come from."""

    @property
    def hookpoint(self) -> str | None:
        """Where they were read."""
        ...

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model that was read."""
        ...

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """Model and texts used."""
        ...


@runtime_checkable
class Inspected(Protocol):
    """A store that can say where it is damaged."""

    def fault(self, hookpoint: str | None = None) -> str | None:
        """Shard, row and document of the first activation that is not finite, in words; None when all are."""
        ...


Hookpoint = str | tuple[str, ...] | None
"""One hookpoint, several side by side, or the only one of a store."""

Batches = Iterable[Tensor]
"""Any iterable of [N, D] tensors."""


class StoreSource:
    """The training documents of a store at one hookpoint or several side by side, in an order given by the seed."""

    def __init__(self, store: Store, *, hookpoint: Hookpoint, batch_size: int, seed: int) -> None:
        self._store, self._batch_size, self._seed = store, batch_size, seed
        self.hookpoint: Hookpoint = (
            tuple(store.hookpoint(name) for name in hookpoint)
            if isinstance(hookpoint, tuple)
            else store.hookpoint(hookpoint)
        )
        self.blocks = store.blocks(self.hookpoint) if isinstance(store, Placed) else None
        self.model_identity: Mapping[str, str] | None = store.model_identity
        self.materials = store.materials
        self.parents = dict(store.parents) if isinstance(store, Placed) else {"activations": store.path}
        self.n_rows: int | None = len(store.rows("train"))
        if self.n_rows == 0:
            raise ConfigError(f"{store.path} holds no training activations: collect more text or hold out less")

    def open(self, position: Any = None) -> Stream:
        """Batches over and over, after `position`."""
        return self._store.stream(
            batch_size=self._batch_size, hookpoint=self.hookpoint, seed=self._seed, position=position
        )

    def fault(self) -> str | None:
        """Where the store holds a number that is not finite; batches come shuffled, so it is looked for in order."""
        if not isinstance(self._store, Inspected):
            return None
        names = self.hookpoint if isinstance(self.hookpoint, tuple) else (self.hookpoint,)
        return next((fault for name in names if (fault := self._store.fault(name))), None)

    def once_more(self) -> Iterator[Tensor] | None:
        """One pass over the data."""
        return _rows(self.open(), self.n_rows or 0)


class IterableSource:
    """Batches of an iterable in its own order: over and over if it can be iterated again, else once."""

    blocks: tuple[Block, ...] | None = None

    def __init__(self, batches: Batches) -> None:
        described = batches if isinstance(batches, Described) else None
        self.hookpoint: Hookpoint = described.hookpoint if described else None
        self.model_identity: Mapping[str, str] | None = described.model_identity if described else None
        self.materials: tuple[Mapping[str, str], ...] = described.materials if described else ()
        self._batches = batches
        self._first_pass = iter(batches)
        self._is_once = self._first_pass is batches
        self._head: list[Tensor] = []
        self.parents: dict[str, Path] = {}
        self.n_rows: int | None = None
        if isinstance(batches, Sequence):
            self.n_rows = sum(len(batch) for batch in batches if isinstance(batch, Tensor) and batch.ndim > 0)

    def open(self, position: Any = None) -> Stream:
        """Batches after the first `position` ones. An iterator's are kept while it is read ahead, to be given again."""
        if not self._is_once:
            return IterableStream(self._passes(), skip=position or 0)
        if position is None and not self._head:
            return IterableStream(self._remembered(), skip=0)
        return IterableStream(itertools.chain(self._head, self._first_pass), skip=position or 0)

    def fault(self) -> str | None:
        """None: batch and row say where a number is not finite."""
        return None

    def once_more(self) -> Iterator[Tensor] | None:
        """One pass over the data; None when it cannot be read again."""
        return None if self._is_once else iter(self._batches)

    def _passes(self) -> Iterator[Tensor]:
        """Pass after pass; ends after one that gave nothing."""
        while True:
            batch = None
            for batch in self._batches:
                yield batch
            if batch is None:
                return

    def _remembered(self) -> Iterator[Tensor]:
        for batch in self._first_pass:
            self._head.append(batch)
            yield batch


class IterableStream:
    """An iterator that counts."""

    def __init__(self, batches: Iterator[Tensor], *, skip: int) -> None:
        self._batches, self._n_given = batches, 0
        for _ in range(skip):
            next(self)

    def __next__(self) -> Tensor:
        """The next batch."""
        batch = next(self._batches)
        self._n_given += 1
        return batch

    def position(self) -> int:
        """Number of batches given so far."""
        return self._n_given


Source = StoreSource | IterableSource
"""Where batches come from."""


def open_source(
    data: Store | Batches, *, hookpoint: Hookpoint, batch_size: int, seed: int, previous: bool = False
) -> Source:
    """`data` as a source; of a store with `previous`, each token beside the one before it.

    Raises ConfigError for an unknown hookpoint, a store without training rows, or other data.
    """
    if isinstance(data, Store):
        if previous:
            if not isinstance(data, Adjoining):
                raise ConfigError(f"{type(data).__name__} cannot put each token beside the one before it")
            data = data.adjacent()
        return StoreSource(data, hookpoint=hookpoint, batch_size=batch_size, seed=seed)
    if isinstance(data, Tensor) or not isinstance(data, Iterable):
        raise ConfigError(f"expected an activation store or batches, found {type(data).__name__}; a tensor x is [x]")
    if hookpoint is not None:
        raise ConfigError(f"hookpoint {hookpoint} names a part of a store, but batches were given")
    return IterableSource(data)


def placed(dictionary: Dictionary, source: Source) -> Dictionary:
    """The dictionary with the names of the places that it reads and writes, as far as the source knows them."""
    hookpoint = source.hookpoint if isinstance(source.hookpoint, str) else None
    blocks = source.blocks or ()
    if dictionary.blocks:
        return dataclasses.replace(dictionary, hookpoint=hookpoint, blocks=tuple(blocks) or dictionary.blocks)
    if dictionary.output_hookpoint is not None and len(blocks) == 2:
        return dataclasses.replace(dictionary, hookpoint=blocks[0].name, output_hookpoint=blocks[1].name)
    return dataclasses.replace(dictionary, hookpoint=hookpoint)


class Ahead(NamedTuple):
    """What is read before the first step."""

    sample_ND: Tensor
    """The first activations, float32 on the CPU, checked."""
    batch_rows: int
    """Tokens of the first batch."""


def read_ahead(source: Source, n_rows: int) -> Ahead:
    """The first `n_rows` activations, fewer if there are no more.

    Raises ConfigError when there are none.
    """
    wanted = n_rows if source.n_rows is None else min(n_rows, source.n_rows)
    found: list[Tensor] = []
    for batch in _rows(source.open(), wanted):
        width = found[0].shape[1] if found else None
        x_ND = checked(batch, d_model=width, number=len(found), fault=source.fault)
        found.append(x_ND.to("cpu", torch.float32))
    if not found:
        raise ConfigError("there are no batches to train on: give at least one [N, D] tensor of activations")
    return Ahead(torch.cat(found)[:n_rows], len(found[0]))


def checked(batch: Any, *, d_model: int | None, number: int, fault: Callable[[], str | None] | None = None) -> Tensor:
    """`batch` if it is a finite [N, D] tensor of the right width, N > 0.

    Raises ConfigError naming the batch (counted from 0) and the first bad row, or what `fault` says of them. Batches
    that already lie on an accelerator are not waited for: what is not finite there shows in the loss.
    """
    if not isinstance(batch, Tensor) or batch.ndim != 2 or not batch.dtype.is_floating_point:
        found = f"{tuple(batch.shape)} of {batch.dtype}" if isinstance(batch, Tensor) else type(batch).__name__
        raise ConfigError(f"batch {number} is {found}: expected a floating-point tensor [N, D] of activations")
    if d_model is not None and batch.shape[1] != d_model:
        raise ConfigError(f"batch {number} has width {batch.shape[1]}, expected {d_model}")
    if len(batch) == 0:
        raise ConfigError(f"batch {number} is empty: expected at least one activation")
    if batch.device.type == "cpu" and not bool(torch.isfinite(batch.sum(dtype=torch.float64))):
        _refuse_bad_row(batch, number, fault() if fault else None)
    return batch


def _refuse_bad_row(batch: Tensor, number: int, fault: str | None) -> None:
    bad_N = ~torch.isfinite(batch).all(1)
    if bool(bad_N.any()):
        row = int(bad_N.nonzero()[0])
        what = "NaN" if bool(batch[row].isnan().any()) else "infinity"
        where = fault or f"batch {number} holds {what} at row {row} ({int(bad_N.sum())} such rows of {len(batch)})"
        raise ConfigError(f"{where}: collect these activations again, in a wider number format if they overflowed")


def _rows(stream: Stream, n_rows: int) -> Iterator[Tensor]:
    """Batches until `n_rows` rows were given or the stream ends."""
    n_given = 0
    while n_given < n_rows:
        try:
            batch = next(stream)
        except StopIteration:
            return
        yield batch
        n_given += len(batch) if isinstance(batch, Tensor) else n_rows
