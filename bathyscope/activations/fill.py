"""Filling a store from a stream of batches: mask, shards, checkpoints; the same bytes wherever it was interrupted.

The stream is a function of what is read, seed and settings, so an interrupted job walks through it again without the
model and goes on where its last shard ended. Knows nothing of text or images.
"""

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope import progress
from bathyscope.activations.masks import Mask
from bathyscope.activations.share import ALL, Share
from bathyscope.activations.size import shard_capacity
from bathyscope.activations.writer import StoreWriter
from bathyscope.artifacts import Draft
from bathyscope.errors import ConfigError, ModelError

CHECKPOINT_SECONDS = 30.0
"""Longest time between checkpoints: what an interrupted job loses at most. Changes no byte of the result."""


@runtime_checkable
class Batch(Protocol):
    """The N real tokens of one forward, in stream order."""

    @property
    def tokens_N(self) -> Int[np.ndarray, " N"]:
        """Their ids."""
        ...

    @property
    def documents_N(self) -> Int[np.ndarray, " N"]:
        """Their documents."""
        ...

    @property
    def positions_N(self) -> Int[np.ndarray, " N"]:
        """Their places within what was read in one go."""
        ...


AnyBatch = TypeVar("AnyBatch", bound=Batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a store is filled with."""

    model: str
    """What the model is called in errors."""
    widths: Mapping[str, int]
    """Hookpoint → width."""
    dtype: torch.dtype
    """Type of the stored rows."""
    shard_rows: int
    """Most rows in one shard, as asked."""
    batch_tokens: int
    """Most tokens of one batch."""
    n_tokens: int
    """Tokens that are expected."""
    special: Collection[int]
    """Tokens that get no row."""
    sink_multiple: float
    """Rows above this multiple of the median norm are dropped; 0 keeps them."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row at all hookpoints."""
        return sum(self.widths.values()) * self.dtype.itemsize

    @property
    def capacity(self) -> int:
        """Rows that a shard may hold; at least those of one batch."""
        return shard_capacity(self.row_bytes, shard_rows=self.shard_rows, batch_tokens=self.batch_tokens)


class Filled(NamedTuple):
    """A draft whose shards are written: what its index is made of."""

    writer: StoreWriter
    mask: Mask


def fill(
    work: Draft,
    batches: Iterable[AnyBatch],
    read: Callable[[AnyBatch], Mapping[str, Float[Tensor, "N _"]]],
    plan: Plan,
    *,
    share: Share = ALL,
) -> Filled:
    """Fill the draft from its last checkpoint to the end of the stream. `read` runs the model on one batch.

    Of several shares one may stay empty; of their other batches, the first is run too if norms decide what is kept.
    Raises ConfigError when no token is kept or the stored type cannot hold an activation, ModelError for one that is
    not finite.
    """
    state = work.state() or {"batches": 0, "mask": {}, "writer": {}}
    mask = Mask(plan.special, sink_multiple=plan.sink_multiple, state=state["mask"])
    writer = StoreWriter(
        work.path,
        work.checkpoint_path,
        widths=plan.widths,
        dtype=plan.dtype,
        capacity=plan.capacity,
        state=state["writer"],
    )
    pace = _Pace(work, total=plan.n_tokens, done=writer.n_tokens)
    n_batches = state["batches"]
    for batch in itertools.islice(batches, n_batches, None):
        if not share.has(n_batches):
            n_batches += 1
            if not mask.is_settled:
                mask.settle(batch.tokens_N, read(batch))
            continue
        before = {"batches": n_batches, "mask": mask.state()}
        x_ND = read(batch)
        _require_finite(plan.model, x_ND)
        kept_N = mask.kept(batch.tokens_N, x_ND)
        if not writer.has_room(int(kept_N.sum())):
            writer.close_shard()
            _checkpoint(work, writer, before, pace)
        rows = {name: _stored(name, x[torch.from_numpy(kept_N).to(x.device)], plan.dtype) for name, x in x_ND.items()}
        columns = {"tokens": batch.tokens_N, "documents": batch.documents_N, "positions": batch.positions_N}
        writer.add(rows, **columns, kept=kept_N)
        n_batches += 1
        pace.report(writer.n_tokens)
        if pace.is_due:
            writer.save()
            _checkpoint(work, writer, {"batches": n_batches, "mask": mask.state()}, pace)
    if share.of == 1:
        require_rows(writer)
    writer.close_shard()
    _checkpoint(work, writer, {"batches": n_batches, "mask": mask.state()}, pace)
    return Filled(writer, mask)


def require_rows(writer: StoreWriter) -> None:
    """Raise ConfigError for a store without a row."""
    if not writer.n_rows:
        raise ConfigError(f"no token is kept: all {writer.n_tokens} are special or masked; choose other text or masks")


def _require_finite(model: str, x_ND: Mapping[str, Float[Tensor, "N _"]]) -> None:
    for name, x in x_ND.items():
        if not bool(torch.isfinite(x).all()):
            raise ModelError(
                f"{name}: activations of {model} hold NaN or infinity; load the model in float32 or bfloat16, "
                "or choose another hookpoint"
            )


def _checkpoint(work: Draft, writer: StoreWriter, state: Mapping[str, Any], pace: "_Pace") -> None:
    work.checkpoint({**state, "writer": writer.state()})
    pace.note(writer.n_tokens)


def _stored(name: str, x_ND: Float[Tensor, "N D"], dtype: torch.dtype) -> Float[Tensor, "N D"]:
    """`x_ND` in the stored type. Raises ConfigError when the type cannot hold it."""
    rows_ND = x_ND.to(dtype).cpu()
    if bool(torch.isinf(rows_ND).any()):
        largest = float(x_ND.abs().max())
        raise ConfigError(
            f"{name}: an activation of {largest:,.0f} does not fit {str(dtype).removeprefix('torch.')} "
            f"(at most {torch.finfo(dtype).max:,.0f}); collect with dtype bfloat16"
        )
    return rows_ND


class _Pace:
    """How fast this sitting goes: wall-clock figures, which never reach hashed files."""

    def __init__(self, work: Draft, *, total: int, done: int) -> None:
        self._work, self._total, self._first = work, total, done
        self._started = self._noted = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is so long ago that another is worth its while."""
        return time.monotonic() - self._noted > CHECKPOINT_SECONDS

    def report(self, done: int) -> None:
        """Tell the progress sink."""
        progress.report("collect", done, self._total, "tokens", tokens_per_second=self._tokens_per_second(done))

    def note(self, done: int) -> None:
        """A checkpoint was made: log the pace."""
        self._noted = time.monotonic()
        self._work.log(stage="collect", tokens=done, tokens_per_second=self._tokens_per_second(done))

    def _tokens_per_second(self, done: int) -> float:
        seconds = time.monotonic() - self._started
        return round((done - self._first) / seconds, 1) if seconds > 0 else 0.0
