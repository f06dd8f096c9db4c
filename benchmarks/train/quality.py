"""One evaluator for everyone's dictionaries: variance unexplained, features per token and dead share, held out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from bathyscope.activations.store import ActivationStore
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights

CHUNK = 4096
"""Rows that are encoded at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was found of a dictionary."""

    unexplained: float
    """`Σ‖x - x̂‖² / Σ‖x - x̄‖²` with x̄ the mean of the rows."""
    l0: float
    """Mean number of active features per token."""
    dead_share: float | None
    """Share of features that fired on none of the rows for it; None where it was not asked."""


class Exam:
    """Held-out rows, the same for everyone."""

    def __init__(self, store: ActivationStore, *, scale: float, n_rows: int, n_dead_rows: int, k: int) -> None:
        rows = store.rows("held_out")
        if len(rows) < max(n_rows, n_dead_rows):
            raise SystemExit(f"error: {len(rows):,} held-out activations, {max(n_rows, n_dead_rows):,} are needed")
        self.k, self.n_dead_rows = k, n_dead_rows
        self._scale, self._store = scale, store
        self._rows, self._dead_rows = _spread(rows, n_rows), _spread(rows, n_dead_rows)

    def figures(self, file: Path, *, is_last: bool) -> Figures:
        """Of the dictionary in `file`, by the conventions of `Contender.weights`; the dead share at the last look."""
        dictionary = Dictionary(weights=Weights(**load_file(file)), rule=Largest(k=self.k), subtract_b_dec=True)
        x_ND = self._read(self._rows)
        deviation = float((x_ND.double() - x_ND.double().mean(0)).square().sum())
        error, n_active = 0.0, 0
        for chunk_ND in x_ND.split(CHUNK):
            codes = dictionary.encode(chunk_ND)
            error += float((chunk_ND - dictionary.decode(codes)).double().square().sum())
            n_active += int((codes.values_NK != 0).sum())
        dead = self._dead_share(dictionary) if is_last else None
        return Figures(unexplained=error / deviation, l0=n_active / len(x_ND), dead_share=dead)

    def _dead_share(self, dictionary: Dictionary) -> float:
        fires_F = torch.zeros(dictionary.n_features, dtype=torch.int64)
        for first in range(0, self.n_dead_rows, CHUNK):
            fires_F += dictionary.encode(self._read(self._dead_rows[first : first + CHUNK])).fires()
        return float((fires_F == 0).double().mean())

    def _read(self, rows: np.ndarray) -> Tensor:
        return self._store.read(rows) * self._scale


def _spread(rows: np.ndarray, n: int) -> np.ndarray:
    """`n` of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, n).astype(np.int64)]
