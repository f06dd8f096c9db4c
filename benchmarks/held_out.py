"""Held-out activations that benchmarks score dictionaries on, and how much a dictionary leaves unexplained of them."""

import numpy as np
from torch import Tensor

from bathyscope.activations.store import ActivationStore
from bathyscope.dictionaries.dictionary import Dictionary

CHUNK = 4096
"""Rows that are encoded at once."""


def spread(store: ActivationStore, hookpoint: str | None, n: int) -> Tensor:
    """At most `n` held-out activations [N, D], evenly spaced, float32."""
    rows = store.rows("held_out")
    chosen = rows[np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(np.int64)]
    return store.read(chosen, hookpoint).float()


def unexplained(dictionary: Dictionary, x_ND: Tensor) -> float:
    """Σ‖x - x̂‖² / Σ‖x - x̄‖²."""
    error = sum(float((part - dictionary.reconstruct(part)).double().square().sum()) for part in x_ND.split(CHUNK))
    return error / float((x_ND.double() - x_ND.double().mean(0)).square().sum())
