"""Views of stores whose rows hold two activations side by side: a token and the one before it, or two models.

Both offer what training asks of a store, and are read through the same shuffles: the two halves of a row stay together.
Knows nothing of what is learnt from them.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.activations.batches import BatchPosition, BatchStream, HookpointRows, shuffled
from bathyscope.activations.store import ActivationStore, Split
from bathyscope.config import from_json
from bathyscope.dictionaries.blocks import Block
from bathyscope.errors import ConfigError

TOKENS_AT_ONCE = 1 << 22
"""Tokens compared at once."""


class Adjacent:
    """Rows [previous token | token] of one store at one hookpoint.

    Both tokens are kept ones, and stand next to each other in the same piece of the same document.
    """

    def __init__(self, store: ActivationStore) -> None:
        self._store = store
        self.path, self.n_documents = store.path, store.n_documents
        self.model_identity: Mapping[str, str] = store.model_identity
        self.materials = store.materials
        self.parents = store.parents

    def hookpoint(self, name: str | None = None) -> str:
        """`name` checked, or the only hookpoint."""
        return self._store.hookpoint(name)

    def blocks(self, hookpoint: str | Sequence[str] | None = None) -> tuple[Block, ...]:
        """The previous token and the token. Raises ConfigError for more than one hookpoint."""
        name = self._only(hookpoint)
        width = self._store.d_model(name)
        return Block(f"{name} at the previous token", width), Block(name, width)

    def rows(self, split: Split = "train") -> Int[np.ndarray, " N"]:
        """Numbers of the rows of a split that have a previous one, ascending."""
        rows = self._store.rows(split)
        return rows[self._follows[rows]]

    def stream(
        self,
        *,
        batch_size: int,
        hookpoint: str | Sequence[str] | None = None,
        seed: int = 0,
        epochs: int | None = None,
        position: "BatchPosition | Mapping[str, Any] | None" = None,
        split: Split = "train",
    ) -> BatchStream:
        """Shuffled batches [B, 2D] of the training documents, from the start or from a position."""
        start = from_json(BatchPosition, position) if isinstance(position, Mapping) else position
        source = AdjacentRows(self, HookpointRows(self._store, self._only(hookpoint)))
        return shuffled(source, batch_size=batch_size, split=split, seed=seed, epochs=epochs, start=start)

    def fault(self, hookpoint: str | None = None) -> str | None:
        """Where the store holds a number that is not finite."""
        return self._store.fault(hookpoint)

    def shard_of(self, rows: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        """Number of the shard that holds each row's second half."""
        return self._store.shard_of(rows)

    def _only(self, hookpoint: str | Sequence[str] | None) -> str:
        if hookpoint is not None and not isinstance(hookpoint, str):
            raise ConfigError(f"adjacent tokens are read at one hookpoint, {len(hookpoint)} were named")
        return self._store.hookpoint(hookpoint)

    @functools.cached_property
    def _follows(self) -> np.ndarray:
        """For each row, whether the token before it has a row and was seen by it in attention."""
        store, at_N = self._store, self._store.row_tokens()
        follows_N = np.zeros(len(at_N), bool)
        follows_N[1:] = np.diff(at_N) == 1
        follows_N[follows_N] = np.asarray(store.positions)[at_N[follows_N]] > 0
        documents_T = np.asarray(store.documents)
        follows_N[follows_N] = documents_T[at_N[follows_N]] == documents_T[at_N[follows_N] - 1]
        return follows_N


class AdjacentRows:
    """Row r of the view is rows r - 1 and r of the store."""

    def __init__(self, view: Adjacent, single: HookpointRows) -> None:
        self._single = single
        self.rows, self.shard_of = view.rows, view.shard_of
        self.path, self.n_documents, self.dtype = single.path, single.n_documents, single.dtype
        self.width = 2 * single.width

    def read_rows(self, rows: Int[np.ndarray, " N"]) -> Float[Tensor, "N W"]:
        """The given pairs."""
        return torch.cat([self._single.read_rows(rows - 1), self._single.read_rows(rows)], dim=1)


class Beside:
    """Rows [first store | second store] of two stores over the same tokens, such as those of two models.

    A row stands for a token that has one in both; it belongs to a split when it does in both.
    """

    def __init__(self, first: ActivationStore, second: ActivationStore) -> None:
        """Raises ConfigError naming the array and the token where the stores differ."""
        _refuse_other_length(first, second)
        columns = {"tokens": lambda s: s.tokens, "documents": lambda s: s.documents, "positions": lambda s: s.positions}
        for name, column in columns.items():
            _refuse_difference(name, first, second, column)
        self._stores = (first, second)
        self.path, self.n_documents = first.path, first.n_documents
        self.parents = {"activations": first.path, "activations beside": second.path}

    @property
    def model_identity(self) -> dict[str, str]:
        """Both models, entry by entry: it equals neither of them."""
        first, second = (store.model_identity for store in self._stores)
        return {name: f"{first.get(name, '')} | {second.get(name, '')}" for name in sorted({*first, *second})}

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """Models and texts of both."""
        found: list[Mapping[str, str]] = []
        for material in (*self._stores[0].materials, *self._stores[1].materials):
            if material not in found:
                found.append(material)
        return tuple(found)

    def hookpoint(self, name: str | None = None) -> str:
        """`name` checked in both stores, or the only hookpoint of each, which must be the same."""
        found = [store.hookpoint(name) for store in self._stores]
        if found[0] != found[1]:
            raise ConfigError(f"{self._stores[0].path} has {found[0]}, {self._stores[1].path} has {found[1]}: name one")
        return found[0]

    def blocks(self, hookpoint: str | Sequence[str] | None = None) -> tuple[Block, ...]:
        """Model and hookpoint of what lies side by side."""
        names = [store.model_identity.get("name", "model") for store in self._stores]
        if names[0] == names[1]:
            names = [f"{name} ({number})" for name, number in zip(names, ("first", "second"), strict=True)]
        parts = [
            Block(f"{name} {block.name}", block.width)
            for name, store in zip(names, self._stores, strict=True)
            for block in store.blocks(hookpoint)
        ]
        return tuple(parts)

    def rows(self, split: Split = "train") -> Int[np.ndarray, " N"]:
        """Numbers (in the first store) of the rows of a split that both have, ascending."""
        first, second = self._stores
        rows = first.rows(split)
        rows = rows[self._partner[rows] >= 0]
        return rows if split == "all" else rows[np.isin(self._partner[rows], second.rows(split))]

    def stream(
        self,
        *,
        batch_size: int,
        hookpoint: str | Sequence[str] | None = None,
        seed: int = 0,
        epochs: int | None = None,
        position: "BatchPosition | Mapping[str, Any] | None" = None,
        split: Split = "train",
    ) -> BatchStream:
        """Shuffled batches [B, D_first + D_second] of the training documents, from the start or from a position."""
        start = from_json(BatchPosition, position) if isinstance(position, Mapping) else position
        source = BesideRows(self, [HookpointRows(store, hookpoint) for store in self._stores], self._partner)
        return shuffled(source, batch_size=batch_size, split=split, seed=seed, epochs=epochs, start=start)

    def fault(self, hookpoint: str | None = None) -> str | None:
        """Where either store holds a number that is not finite."""
        return self._stores[0].fault(hookpoint) or self._stores[1].fault(hookpoint)

    def shard_of(self, rows: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        """Number of the shard of the first store that holds each row."""
        return self._stores[0].shard_of(rows)

    @functools.cached_property
    def _partner(self) -> np.ndarray:
        """For each row of the first store, the row of the second for the same token, or -1."""
        first_N, second_M = (store.row_tokens() for store in self._stores)
        if not len(second_M):
            return np.full(len(first_N), -1)
        at_N = np.searchsorted(second_M, first_N).clip(max=len(second_M) - 1)
        return np.where(second_M[at_N] == first_N, at_N, -1)


class BesideRows:
    """Rows of two stores for the same tokens."""

    def __init__(self, view: Beside, parts: list[HookpointRows], partner_N: np.ndarray) -> None:
        self._parts, self._partner_N = parts, partner_N
        self.rows, self.shard_of = view.rows, view.shard_of
        self.path: Path = view.path
        self.n_documents = view.n_documents
        self.dtype = torch.promote_types(parts[0].dtype, parts[1].dtype)
        self.width = parts[0].width + parts[1].width

    def read_rows(self, rows: Int[np.ndarray, " N"]) -> Float[Tensor, "N W"]:
        """The given rows, both halves in the wider of the stored types."""
        halves = self._parts[0].read_rows(rows), self._parts[1].read_rows(self._partner_N[rows])
        return torch.cat([half.to(self.dtype) for half in halves], dim=1)


def _refuse_other_length(first: ActivationStore, second: ActivationStore) -> None:
    if first.n_tokens != second.n_tokens:
        raise ConfigError(
            f"{first.path} holds {first.n_tokens:,} tokens, {second.path} {second.n_tokens:,}: "
            "two stores lie side by side only over the same tokens; collect both from the same text and settings"
        )


def _refuse_difference(
    name: str,
    first: ActivationStore,
    second: ActivationStore,
    column: Callable[[ActivationStore], Int[np.ndarray, " T"]],
) -> None:
    """Raise ConfigError when a per-token array is not the same in both."""
    for start in range(0, first.n_tokens, TOKENS_AT_ONCE):
        part = slice(start, start + TOKENS_AT_ONCE)
        differs = np.flatnonzero(column(first)[part] != column(second)[part])
        if len(differs):
            raise ConfigError(
                f"the {name} of {first.path} and {second.path} differ from token {start + int(differs[0]):,} on: "
                "two stores lie side by side only over the same tokens; collect both from the same text and settings"
            )
