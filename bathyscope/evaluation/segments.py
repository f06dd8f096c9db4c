"""Held-out documents of a store as batches of token sequences, to run a model on them again."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.activations.store import ActivationStore
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentBatch:
    """Right-padded sequences, each from one document."""

    tokens_BS: Int[Tensor, "B S"]
    """Token ids; padding holds the first token id of the row."""
    mask_BS: Int[Tensor, "B S"]
    """1 at real tokens, 0 at padding."""
    kept_BS: Bool[Tensor, "B S"]
    """True where the store holds an activation: real, not special, not an attention sink."""
    documents_B: NDArray[np.int64]
    """Document number of each row."""


def held_out_segments(store: ActivationStore, *, n_tokens: int, seed: int) -> list[tuple[int, int]]:
    """Segments (start, stop) drawn from the held-out documents in turn until `n_tokens` are reached, shortest first.

    One segment of each document before a second of any: intervals are over documents, so many documents count.
    A segment is a run of tokens of one document that saw each other in attention; segments shorter than 8 tokens are
    passed over. Raises ConfigError when the store holds no held-out document.
    """
    documents_T, positions_T = np.asarray(store.documents), np.asarray(store.positions)
    starts = np.flatnonzero((positions_T == 0) | np.diff(documents_T, prepend=-1).astype(bool))
    stops = np.append(starts[1:], len(positions_T))
    usable = store.held_out(documents_T[starts]) & (stops - starts >= 8)
    if not usable.any():
        raise ConfigError(f"{store.path} holds no held-out document: collect more text or a larger held-out share")
    by_document: dict[int, list[tuple[int, int]]] = {}
    for start, stop in zip(starts[usable].tolist(), stops[usable].tolist(), strict=True):
        by_document.setdefault(int(documents_T[start]), []).append((start, stop))
    chosen: list[tuple[int, int]] = []
    total = 0
    for start, stop in _in_turn(by_document, np.random.default_rng(seed)):
        if total >= n_tokens:
            break
        chosen.append((start, stop))
        total += stop - start
    return sorted(chosen, key=lambda s: (s[1] - s[0], s[0]))


def _in_turn(
    by_document: dict[int, list[tuple[int, int]]], generator: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """A random segment of every document in a random order, then a second one of each, and so on."""
    documents = generator.permutation(sorted(by_document)).tolist()
    drawn = {document: generator.permutation(len(by_document[document])).tolist() for document in documents}
    for turn in range(max(map(len, drawn.values()))):
        for document in documents:
            if turn < len(drawn[document]):
                yield by_document[document][drawn[document][turn]]


def segment_batches(
    store: ActivationStore, segments: list[tuple[int, int]], *, tokens_per_batch: int
) -> Iterator[SegmentBatch]:
    """The segments, in the given order (shortest first wastes no padding), in batches of about `tokens_per_batch`."""
    batch: list[tuple[int, int]] = []
    for start, stop in segments:
        if batch and (len(batch) + 1) * max(stop - start, batch[-1][1] - batch[-1][0]) > tokens_per_batch:
            yield _pad(store, batch)
            batch = []
        batch.append((start, stop))
    if batch:
        yield _pad(store, batch)


def _pad(store: ActivationStore, batch: list[tuple[int, int]]) -> SegmentBatch:
    width = max(stop - start for start, stop in batch)
    tokens_BS = np.zeros((len(batch), width), np.int64)
    mask_BS = np.zeros((len(batch), width), np.int64)
    kept_BS = np.zeros((len(batch), width), bool)
    for row, (start, stop) in enumerate(batch):
        tokens_BS[row] = store.tokens[start]
        tokens_BS[row, : stop - start] = store.tokens[start:stop]
        mask_BS[row, : stop - start] = 1
        kept_BS[row, : stop - start] = store.kept[start:stop]
    return SegmentBatch(
        tokens_BS=torch.from_numpy(tokens_BS),
        mask_BS=torch.from_numpy(mask_BS),
        kept_BS=torch.from_numpy(kept_BS),
        documents_B=np.array([store.documents[start] for start, _ in batch], np.int64),
    )
