"""An inverted file of codes: for each feature the rows where it fires, on disk, memory bounded.

Codes arrive in row order. Every few million entries are sorted by feature and written as one run; a block of features
is read back as one slice of each run. So each code is written once and read once, everything computed per feature is
exact, and memory does not grow with the text. Scratch space: 8 bytes per non-zero code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

RUN_ENTRIES = 4_000_000
"""Codes held in memory before a run is written, and codes of one block when read back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """All firings of features `first` … `first + n_features − 1`, sorted by feature, then row."""

    first: int
    n_features: int
    features: Int[np.ndarray, " E"]
    """Feature of each firing, counted from `first`."""
    rows: Int[np.ndarray, " E"]
    values: Float[np.ndarray, " E"]
    starts: Int[np.ndarray, " F1"]
    """Where each feature's firings begin, and E at the end."""

    @property
    def counts(self) -> Int[np.ndarray, " F"]:
        """Number of firings of each feature."""
        return np.diff(self.starts)


class PostingsWriter:
    """Collects codes in row order and writes them as sorted runs."""

    def __init__(self, folder: Path, *, n_features: int, n_runs: int = 0) -> None:
        """`n_runs` runs are there already (a resumed job)."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.n_features, self.n_runs, self.n_pending = folder, n_features, n_runs, 0
        self._pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(
        self, features: Int[np.ndarray, " E"], rows: Int[np.ndarray, " E"], values: Float[np.ndarray, " E"]
    ) -> None:
        """Take the non-zero codes of the next rows, in row order."""
        self._pending.append((features.astype(np.int32), rows.astype(np.int32), values.astype(np.float32)))
        self.n_pending += len(features)

    def flush(self) -> None:
        """Write what is pending as one run."""
        features, rows, values = (np.concatenate(part) for part in zip(*self._pending, strict=True))
        order = np.argsort(features, kind="stable")
        np.save(self.folder / f"run-{self.n_runs:05d}-rows.npy", rows[order])
        np.save(self.folder / f"run-{self.n_runs:05d}-values.npy", values[order])
        offsets = np.concatenate([[0], np.cumsum(np.bincount(features, minlength=self.n_features))])
        np.save(self.folder / f"run-{self.n_runs:05d}-offsets.npy", offsets)
        self.n_runs, self.n_pending = self.n_runs + 1, 0
        self._pending.clear()


class Postings:
    """Runs in order of their rows, of one folder or of several, read one block of features at a time."""

    def __init__(self, *folders: tuple[Path, int]) -> None:
        """Each folder with the number of its runs."""
        runs = [folder / f"run-{i:05d}" for folder, n_runs in folders for i in range(n_runs)]
        self._offsets = [np.load(f"{run}-offsets.npy") for run in runs]
        self._rows = [np.load(f"{run}-rows.npy", mmap_mode="r") for run in runs]
        self._values = [np.load(f"{run}-values.npy", mmap_mode="r") for run in runs]
        self.counts = np.sum([np.diff(offsets) for offsets in self._offsets], axis=0)
        """Number of firings of each feature."""

    def blocks(self, *, multiple: int, limit: int = RUN_ENTRIES) -> Iterator[Block]:
        """All features in order, in blocks of at most `limit` firings whose sizes are multiples of `multiple`."""
        edges = np.minimum(np.arange(0, len(self.counts) + multiple, multiple), len(self.counts))
        before = np.concatenate([[0], np.cumsum(self.counts)])[edges]
        at = 0
        while at < len(edges) - 1:
            end = int(np.searchsorted(before, before[at] + limit, side="right")) - 1
            end = min(max(end, at + 1), at + max(1, 4096 // multiple), len(edges) - 1)
            yield self.block(int(edges[at]), int(edges[end]))
            at = end

    def block(self, first: int, stop: int) -> Block:
        """The firings of features `first` … `stop − 1`."""
        slices = [slice(int(o[first]), int(o[stop])) for o in self._offsets]
        rows = np.concatenate([r[s] for r, s in zip(self._rows, slices, strict=True)])
        values = np.concatenate([v[s] for v, s in zip(self._values, slices, strict=True)])
        local = np.arange(stop - first)
        features = np.concatenate([np.repeat(local, np.diff(o[first : stop + 1])) for o in self._offsets])
        order = np.argsort(features, kind="stable")
        counts = self.counts[first:stop]
        return Block(
            first=first,
            n_features=stop - first,
            features=features[order],
            rows=rows[order],
            values=values[order],
            starts=np.concatenate([[0], np.cumsum(counts)]),
        )
