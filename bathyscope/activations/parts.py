"""Collecting by several processes: which batches each of them runs, and how their stores become one.

Every process walks through the whole stream of batches, which costs no forward, and runs each n-th. The joined store
has the bytes that one process would have written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope import progress
from bathyscope.activations.fill import AnyBatch, Batch, Filled, Plan, require_rows
from bathyscope.activations.masks import Mask
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.writer import StoreWriter
from bathyscope.artifacts import Draft
from bathyscope.errors import ArtifactError


def join_parts(work: Draft, batches: Iterable[AnyBatch], parts: Sequence[ActivationStore], plan: Plan) -> Filled:
    """Fill the draft with the rows of the parts, batch by batch of the stream that all of them read.

    Raises ArtifactError for a part that was made of another stream, ConfigError when no token is kept.
    """
    writer = StoreWriter(
        work.path, work.checkpoint_path, widths=plan.widths, dtype=plan.dtype, capacity=plan.capacity, state={}
    )
    readers = [_Reader(part) for part in parts]
    for number, batch in enumerate(batches):
        taken = readers[number % len(readers)].take(batch)
        if not writer.has_room(int(taken.kept_N.sum())):
            writer.close_shard()
        columns = {"tokens": batch.tokens_N, "documents": batch.documents_N, "positions": batch.positions_N}
        writer.add(taken.rows, **columns, kept=taken.kept_N)
        progress.report("join", writer.n_tokens, plan.n_tokens, "tokens")
    require_rows(writer)
    writer.close_shard()
    return Filled(writer, Mask(plan.special, sink_multiple=plan.sink_multiple, state=_mask_state(parts)))


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """What a part holds of one batch."""

    kept_N: Bool[np.ndarray, " N"]
    rows: Mapping[str, Float[Tensor, "R _"]]


class _Reader:
    """Goes through a part once, from its first token to its last."""

    def __init__(self, part: ActivationStore) -> None:
        self._part, self._tokens, self._kept = part, part.tokens, part.kept
        self._token = self._row = 0

    def take(self, batch: Batch) -> _Taken:
        """The next tokens, which are to be those of the batch."""
        n = len(batch.tokens_N)
        own = slice(self._token, self._token + n)
        if not np.array_equal(self._tokens[own], batch.tokens_N):
            raise ArtifactError(f"{self._part.path} holds other tokens than this text has: delete it and collect again")
        kept_N = np.array(self._kept[own])
        rows = slice(self._row, self._row + int(kept_N.sum()))
        self._token, self._row = own.stop, rows.stop
        return _Taken(kept_N, {name: self._part.read(rows, name, dtype=None) for name in self._part.hookpoints})


def _mask_state(parts: Sequence[ActivationStore]) -> dict[str, Any]:
    """Medians are those of the stream's first batch, which every process looked at; counts add up."""
    found = [part.description for part in parts]
    counts = {name: sum(each[name] for each in found) for name in ("n_special", "n_sinks")}
    return {"median_norms": found[0]["median_norms"], **counts}
