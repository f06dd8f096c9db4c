"""The text that is indexed: token stream, documents, segments, kept rows, and windows over them.

A segment is a stretch that the model read in one go (positions count up by one inside one document). A tile is one of
the non-overlapping windows that cut a segment from its start. Knows nothing of features.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from bathyscope.activations.store import ActivationStore
from bathyscope.errors import ArtifactError

Read = Callable[[np.ndarray], Tensor]
"""From row numbers of the indexed text (ascending) to their activations [n, D]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """An indexed text of T tokens, N of them kept (those with activations), about 37 bytes a token."""

    tokens: Int[np.ndarray, " T"]
    documents: Int[np.ndarray, " T"]
    """Document ids as in the activation store."""
    kept: Bool[np.ndarray, " T"]
    segments: Int[np.ndarray, " S1"]
    """Token offsets where segments begin, and T at the end."""
    row_tokens: Int[np.ndarray, " N"]
    """Token offset of each row."""
    rows_before: Int[np.ndarray, " T1"]
    """Number of rows before each token."""
    row_documents: Int[np.ndarray, " N"]
    """Ordinal of each row's document among the documents that have rows."""
    document_rows: Int[np.ndarray, " M"]
    """Number of rows of each such document."""
    row_tiles: Int[np.ndarray, " N"]
    tile_starts: Int[np.ndarray, " J"]
    tile_stops: Int[np.ndarray, " J"]
    read: Read

    @property
    def n_rows(self) -> int:
        """Kept tokens."""
        return len(self.row_tokens)

    @property
    def n_tiles(self) -> int:
        """Tiles, those without any kept token included."""
        return len(self.tile_starts)

    def windows(
        self, tokens: Int[np.ndarray, " E"], *, before: int, length: int
    ) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " E"]]:
        """Start and stop of the window around each token: `before` tokens of left context where the segment has them.

        A window never leaves its segment; near a segment's end it is moved, and cut only when the segment is shorter.
        """
        segment = np.searchsorted(self.segments, tokens, side="right") - 1
        first, last = self.segments[segment], self.segments[segment + 1]
        starts = np.maximum(first, np.minimum(tokens - before, last - length))
        return starts, np.minimum(last, starts + length)

    def row_batches(self, limit: int) -> list[tuple[int, int]]:
        """Row ranges of at most `limit` rows (at least one tile) that never cut a tile."""
        edges = np.append(np.flatnonzero(np.diff(self.row_tiles, prepend=-1)), self.n_rows)
        ranges, start = list[tuple[int, int]](), 0
        while start < self.n_rows:
            at = int(np.searchsorted(edges, start + limit, side="right")) - 1
            stop = int(edges[at]) if edges[at] > start else int(edges[np.searchsorted(edges, start, side="right")])
            ranges.append((start, stop))
            start = stop
        return ranges


def stored_corpus(store: ActivationStore, hookpoint: str, documents: Int[np.ndarray, " M"], *, tile: int) -> Corpus:
    """The given documents of a store, whole and in stream order. Raises ArtifactError when they have no row."""
    of_token = np.asarray(store.documents)
    wanted = np.zeros(store.n_documents, dtype=bool)
    wanted[documents] = True
    rows, chosen = np.flatnonzero(wanted[of_token[store.row_tokens()]]), np.flatnonzero(wanted[of_token])
    return corpus_of(
        tokens=np.asarray(store.tokens)[chosen],
        documents=of_token[chosen],
        positions=np.asarray(store.positions)[chosen],
        kept=np.asarray(store.kept)[chosen],
        read=lambda own: store.read(rows[own], hookpoint),
        tile=tile,
    )


def corpus_of(
    *,
    tokens: Int[np.ndarray, " T"],
    documents: Int[np.ndarray, " T"],
    positions: Int[np.ndarray, " T"],
    kept: Bool[np.ndarray, " T"],
    read: Read,
    tile: int,
) -> Corpus:
    """The corpus of a token stream. Raises ArtifactError when it has no kept token."""
    row_tokens = np.flatnonzero(kept)
    if len(row_tokens) == 0:
        raise ArtifactError(
            f"no token to index: {len(tokens)} tokens, none with activations; choose other text or split"
        )
    breaks = np.flatnonzero((documents[1:] != documents[:-1]) | (positions[1:] != positions[:-1] + 1)) + 1
    segments = np.concatenate([[0], breaks, [len(tokens)]]).astype(np.int64)
    counts = -(-np.diff(segments) // tile)
    base = np.cumsum(counts) - counts
    tile_segment = np.repeat(np.arange(len(counts)), counts)
    tile_starts = segments[tile_segment] + (np.arange(len(tile_segment)) - base[tile_segment]) * tile
    row_segment = np.searchsorted(segments, row_tokens, side="right") - 1
    row_tiles = base[row_segment] + (row_tokens - segments[row_segment]) // tile
    _, ordinal = np.unique(documents[row_tokens], return_inverse=True)
    return Corpus(
        tokens=np.ascontiguousarray(tokens, dtype=np.int32),
        documents=np.ascontiguousarray(documents, dtype=np.int32),
        kept=np.ascontiguousarray(kept, dtype=np.bool_),
        segments=segments,
        row_tokens=row_tokens,
        rows_before=np.concatenate([[0], np.cumsum(kept)]).astype(np.int32),
        row_documents=ordinal.astype(np.int32),
        document_rows=np.bincount(ordinal),
        row_tiles=row_tiles.astype(np.int32),
        tile_starts=tile_starts,
        tile_stops=np.minimum(tile_starts + tile, segments[tile_segment + 1]),
        read=read,
    )
