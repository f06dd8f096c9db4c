"""Batches of activations, from a store or from any iterable of [N, D] tensors, that can be taken up where they stopped.

Knows a store only by the few things it asks of one, so that this room imports nothing of activations.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from bathyscope.errors import ConfigError


class Stream(Protocol):
    """An iterator over [N, D] batches that knows where it is."""

    def __next__(self) -> Tensor:
        """The next batch."""
        ...

    def position(self) -> Any:
        """JSON data from which `stream(position=…)` goes on with the batch after the last one given."""
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

    def d_model(self, hookpoint: str | None = None) -> int:
        """Width of a row."""
        ...

    def rows(self, split: Any = "train") -> Sized:
        """Row numbers of a split."""
        ...

    def stream(
        self, *, batch_size: int, seed: int, epochs: int | None = None, hookpoint: str | None = None, position: Any = None
    ) -> Stream:
        """Shuffled batches of the training documents, from the start or from a position; endless for epochs=None."""
        ...


class IterableStream:
    """Batches of an iterable in the order given, over and over if it can be iterated again."""

    def __init__(self, batches: Iterable[Tensor], *, skip: int = 0) -> None:
        """Begin after the first `skip` batches (of this and later passes)."""
        self._batches, self._n_given = batches, 0
        self._pass: Iterator[Tensor] = iter(batches)
        self._is_once = self._pass is batches
        for _ in range(skip):
            next(self)

    def __next__(self) -> Tensor:
        """The next batch. Raises StopIteration when an iterator that cannot begin again has ended, or nothing is there."""
        try:
            batch = next(self._pass)
        except StopIteration:
            if self._is_once:
                raise
            self._pass = iter(self._batches)
            batch = next(self._pass)
        self._n_given += 1
        return batch

    def position(self) -> int:
        """Number of batches given so far."""
        return self._n_given


def n_rows(batches: Iterable[Tensor]) -> int | None:
    """Rows in one pass over a sequence of batches; None when the iterable does not say."""
    return sum(len(batch) for batch in batches) if isinstance(batches, Sequence) else None


def checked(batch: Any, *, d_model: int | None, number: int) -> Tensor:
    """`batch` if it is a finite [N, D] tensor of the right width, N > 0.

    Raises ConfigError naming the batch (counted from 0) and the first bad row. Batches that already lie on an
    accelerator are not waited for: what is not finite there shows in the loss.
    """
    if not isinstance(batch, Tensor) or batch.ndim != 2 or not batch.dtype.is_floating_point:
        found = f"{tuple(batch.shape)} of {batch.dtype}" if isinstance(batch, Tensor) else type(batch).__name__
        raise ConfigError(f"batch {number} is {found}: expected a floating-point tensor [N, D] of activations")
    if d_model is not None and batch.shape[1] != d_model:
        raise ConfigError(f"batch {number} has width {batch.shape[1]}, expected {d_model}")
    if len(batch) == 0:
        raise ConfigError(f"batch {number} is empty: expected at least one activation")
    if batch.device.type == "cpu" and not bool(torch.isfinite(batch.sum(dtype=torch.float64))):
        _refuse_bad_row(batch, number)
    return batch


def _refuse_bad_row(batch: Tensor, number: int) -> None:
    bad_N = ~torch.isfinite(batch).all(1)
    if bool(bad_N.any()):
        row = int(bad_N.nonzero()[0])
        kind = "NaN" if bool(batch[row].isnan().any()) else "infinity"
        raise ConfigError(
            f"batch {number} holds {kind} at row {row} ({int(bad_N.sum())} such rows of {len(batch)}): "
            "collect these activations again, in a wider number format if they overflowed"
        )
