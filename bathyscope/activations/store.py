"""`ActivationStore`: activations on disk, with the tokens they belong to.

A folder of kind `activations`: `index.json`; shards with one tensor per hookpoint; `tokens.npy`, `documents.npy`,
`positions.npy` (int32) and `kept.npy` (bool) over all tokens in stream order, special tokens included and padding
never; `sources.json`, document number → where it comes from. Row r belongs to the r-th kept token. Each file's checksum
is compared when it is first used. Knows nothing of models or of shuffling.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.activations.folder import HookpointFolder
from bathyscope.activations.shards import TORCH_DTYPES, Shard, open_shard
from bathyscope.activations.split import held_out
from bathyscope.artifacts import check_file
from bathyscope.config import from_json
from bathyscope.dictionaries.blocks import Block
from bathyscope.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from bathyscope.activations.batches import BatchPosition, BatchStream
    from bathyscope.activations.beside import Adjacent

KIND = "activations"
SCHEMA = 1
SOURCES = "sources.json"
COLUMNS = {"tokens": np.dtype("<i4"), "documents": np.dtype("<i4"), "positions": np.dtype("<i4"), "kept": np.dtype("?")}
"""Per-token files `NAME.npy` and their types."""

Split = Literal["train", "held_out", "all"]


class ActivationStore(HookpointFolder):
    """A finished folder of activations, read through memory maps."""

    def __init__(self, path: str | Path) -> None:
        """Open `path`. Raises ArtifactError when it is missing, unfinished, of another kind or damaged."""
        super().__init__(path, kind=KIND, schema=SCHEMA)
        sizes = [shard["rows"] for shard in self._index["shards"]]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._shards: dict[int, Shard] = {}

    @property
    def n_rows(self) -> int:
        """Number of activation rows, the same at every hookpoint."""
        return int(self._starts[-1])

    @property
    def n_tokens(self) -> int:
        """Number of tokens in the stream, special and masked ones included."""
        return int(self._index["n_tokens"])

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return int(self._index["n_documents"])

    @property
    def dtype(self) -> torch.dtype:
        """Type of the stored rows."""
        return TORCH_DTYPES[self._index["dtype"]]

    @property
    def seed(self) -> int:
        """Seed of the document order and of the held-out split."""
        return int(self._index["seed"])

    @property
    def sources(self) -> list[str]:
        """Document number → where it comes from."""
        return json.loads(check_file(self.path, self.manifest, SOURCES).read_bytes())

    @property
    def tokens(self) -> Int[np.ndarray, " T"]:
        """Token ids in stream order."""
        return self._column("tokens")

    @property
    def documents(self) -> Int[np.ndarray, " T"]:
        """Document number of each token."""
        return self._column("documents")

    @property
    def positions(self) -> Int[np.ndarray, " T"]:
        """How many tokens each token could look back on; 0 begins a piece that was read on its own."""
        return self._column("positions")

    @property
    def kept(self) -> Bool[np.ndarray, " T"]:
        """True for tokens with a row; False for special tokens and attention sinks."""
        return self._column("kept")

    def d_model(self, hookpoint: str | None = None) -> int:
        """Width of the rows at `hookpoint` (which may be left out when there is one)."""
        return int(self._index["hookpoints"][self.hookpoint(hookpoint)])

    def row_tokens(self) -> Int[np.ndarray, " N"]:
        """Token number of each row."""
        return self._row_tokens

    def held_out(self, documents: Int[np.ndarray, " M"] | Sequence[int]) -> Bool[np.ndarray, " M"]:
        """Whether each of the given documents is held out, see `split.held_out`."""
        numbers = np.asarray(documents, dtype=np.int64)
        return held_out(numbers, share=self._index["held_out"], seed=self.seed)

    def rows(self, split: Split = "train") -> Int[np.ndarray, " N"]:
        """Row numbers of one side of the split by document, ascending."""
        if split not in ("train", "held_out", "all"):
            raise ConfigError(f"no split {split!r}; expected train, held_out or all")
        if split == "all":
            return np.arange(self.n_rows, dtype=np.int64)
        is_held_out = self.held_out(np.arange(self.n_documents))[self.documents[self._row_tokens]]
        return np.flatnonzero(is_held_out == (split == "held_out"))

    def read(
        self,
        rows: Int[np.ndarray, " N"] | Sequence[int] | Int[Tensor, " N"] | slice,
        hookpoint: str | None = None,
        dtype: torch.dtype | None = torch.float32,
    ) -> Float[Tensor, "N D"]:
        """The given rows, in the given order, as a tensor of `dtype` (None: as stored).

        Raises ConfigError for a row that does not exist, ArtifactError for a damaged shard.
        """
        name = self.hookpoint(hookpoint)
        numbers = self._numbers(rows)
        found_ND = torch.empty(len(numbers), self.d_model(name), dtype=self.dtype)
        if len(numbers) and int(numbers[-1] - numbers[0]) == len(numbers) - 1 and bool((np.diff(numbers) == 1).all()):
            self._read_run(name, int(numbers[0]), found_ND)
        elif len(numbers):
            self._read_scattered(name, numbers, found_ND)
        return found_ND if dtype is None else found_ND.to(dtype)

    def stream(
        self,
        *,
        batch_size: int,
        hookpoint: str | Sequence[str] | None = None,
        seed: int = 0,
        epochs: int | None = None,
        position: "BatchPosition | Mapping[str, Any] | None" = None,
    ) -> "BatchStream":
        """Shuffled batches of the training documents, see `batches.batches`; what training asks of a store.

        Several hookpoints lie side by side in each batch, [B, ΣD], in the order given.
        `position` is what `position()` of such a stream returned, also after a round trip through JSON.
        """
        from bathyscope.activations.batches import BatchPosition, batches  # batches itself imports this module

        start = from_json(BatchPosition, position) if isinstance(position, Mapping) else position
        return batches(self, batch_size=batch_size, hookpoint=hookpoint, seed=seed, epochs=epochs, start=start)

    def blocks(self, hookpoint: str | Sequence[str] | None = None) -> tuple[Block, ...]:
        """Hookpoint and width of what lies side by side in the batches of `stream`."""
        asked = [hookpoint] if hookpoint is None or isinstance(hookpoint, str) else hookpoint
        return tuple(Block(self.hookpoint(name), self.d_model(name)) for name in asked)

    @property
    def parents(self) -> dict[str, Path]:
        """The folder, under the name that manifests give it."""
        return {"activations": self.path}

    def adjacent(self) -> "Adjacent":
        """A view whose batches hold the previous token's activation and the token's own, side by side."""
        from bathyscope.activations.beside import Adjacent  # which imports this module

        return Adjacent(self)

    def shard_of(self, rows: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        """Number of the shard that holds each row."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    def shards(self) -> list[tuple[int, int, str]]:
        """First row, row behind the last, and file name of every shard."""
        edges = self._starts.tolist()
        files = [str(shard["file"]) for shard in self._index["shards"]]
        return list(zip(edges[:-1], edges[1:], files, strict=True))

    def fault(self, hookpoint: str | None = None) -> str | None:
        """Shard, row and document of the first activation that is not finite, in words; None when all are."""
        from bathyscope.activations.faults import first_fault  # which imports this module

        return first_fault(self, self.hookpoint(hookpoint))

    def _read_run(self, name: str, start: int, into: Tensor) -> None:
        """Consecutive rows: one copy per shard."""
        stop = start + len(into)
        first, last = self.shard_of(np.array([start, stop - 1])).tolist()
        for shard in range(first, last + 1):
            begin = int(self._starts[shard])
            low, high = max(start, begin), min(stop, int(self._starts[shard + 1]))
            if low < high:
                self._shard(shard).take(name, slice(low - begin, high - begin), into[low - start : high - start])

    def _read_scattered(self, name: str, numbers: Int[np.ndarray, " N"], into: Tensor) -> None:
        """Any rows: in the order of the file, then put in place."""
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        edges = np.searchsorted(ordered, self._starts)
        sorted_ND = torch.empty_like(into)
        for shard in np.flatnonzero(np.diff(edges)).tolist():
            low, high = int(edges[shard]), int(edges[shard + 1])
            self._shard(shard).take(name, ordered[low:high] - self._starts[shard], sorted_ND[low:high])
        into[torch.from_numpy(order)] = sorted_ND

    def _shard(self, number: int) -> Shard:
        if number not in self._shards:
            entry = self._index["shards"][number]
            file = check_file(self.path, self.manifest, entry["file"])
            self._shards[number] = open_shard(file, n_rows=entry["rows"], widths=self._index["hookpoints"])
        return self._shards[number]

    def _numbers(self, rows: Any) -> Int[np.ndarray, " N"]:
        if isinstance(rows, slice):
            return np.arange(self.n_rows, dtype=np.int64)[rows]
        numbers = np.asarray(rows, dtype=np.int64)
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < self.n_rows:
            raise ConfigError(f"rows {numbers.min()} … {numbers.max()} asked, {self.path} has 0 … {self.n_rows - 1}")
        return numbers

    def _column(self, name: str) -> np.ndarray:
        return self._columns[name]

    @functools.cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        files = {name: check_file(self.path, self.manifest, f"{name}.npy") for name in COLUMNS}
        columns = {name: np.load(file, mmap_mode="r", allow_pickle=False) for name, file in files.items()}
        for name, column in columns.items():
            if column.shape != (self.n_tokens,) or column.dtype != COLUMNS[name]:
                raise ArtifactError(
                    f"{files[name]} holds {column.dtype} {column.shape}, expected {self.n_tokens} tokens"
                )
        return columns

    @functools.cached_property
    def _row_tokens(self) -> Int[np.ndarray, " N"]:
        tokens = np.flatnonzero(self.kept)
        if len(tokens) != self.n_rows:
            raise ArtifactError(f"{self.path} has {self.n_rows} rows for {len(tokens)} kept tokens; make it again")
        return tokens
