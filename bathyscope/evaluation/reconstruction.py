"""How well dictionaries, vectors and nulls give back stored activations: sums per row, read once for all of them.

EV = 1 - Σ‖x - x̂‖² / Σ‖x - x̄‖² with x̄ the mean of the rows that are scored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.activations.store import ActivationStore
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import Interval, bootstrap, by_document
from bathyscope.evaluation.scores import Score, score
from bathyscope.features.wilson import wilson

CHUNK_ROWS = 4096
Subject = Dictionary | Tensor
"""A dictionary, or one vector [D] that stands for every activation."""


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What one subject made of the rows."""

    rows_NM: NDArray[np.float64]
    """Per row (squared error, squared deviation, cosine, active features, 1)."""
    fires_F: NDArray[np.int64]
    """How often each feature fired; empty for a vector."""


def reconstruction_sums(
    subjects: Mapping[str, Subject], store: ActivationStore, hookpoint: str, rows: NDArray[np.int64]
) -> dict[str, Sums]:
    """The sums of every subject on `rows`. Raises ConfigError naming shard and row of a number that is not finite."""
    centre_D = mean_of(store, hookpoint, rows)
    parts: dict[str, list[Tensor]] = {name: [] for name in subjects}
    fires = {name: np.zeros(s.n_features if isinstance(s, Dictionary) else 0, np.int64) for name, s in subjects.items()}
    for i in range(0, len(rows), CHUNK_ROWS):
        x_ND = store.read(rows[i : i + CHUNK_ROWS], hookpoint)
        deviation_N = (x_ND - centre_D).double().square().sum(1)
        for name, subject in subjects.items():
            active_N = torch.zeros(len(x_ND))
            if isinstance(subject, Dictionary):
                codes = subject.encode(x_ND)
                guess_ND, active_N = subject.decode(codes, x_ND), (codes.values_NK != 0).sum(1).float()
                fires[name] += codes.fires().numpy()
            else:
                guess_ND = subject.expand_as(x_ND)
            cosine_N = torch.nn.functional.cosine_similarity(x_ND, guess_ND, dim=1)
            error_N = (x_ND - guess_ND).double().square().sum(1)
            parts[name].append(torch.stack([error_N, deviation_N, cosine_N, active_N, torch.ones(len(x_ND))], dim=1))
    return {name: Sums(torch.cat(parts[name]).numpy(), fires[name]) for name in subjects}


def reconstruction_scores(name: str, sums: Sums, documents_N: NDArray[np.integer], *, seed: int) -> list[Score]:
    """Variance explained, cosine, and of a dictionary L0, dead and dense share; the cosine with zero counts as 0."""
    is_dictionary = len(sums.fires_F) > 0
    sums_GM = by_document(documents_N, sums.rows_NM)
    scores = [
        score(name, metric, bootstrap(sums_GM, statistic, seed=seed))
        for metric, statistic in _STATISTICS.items()
        if is_dictionary or metric != "L0"
    ]
    if is_dictionary:
        scores.append(score(name, "dead share", _share(sums.fires_F == 0), unit="features"))
        scores.append(score(name, "dense share", _share(sums.fires_F > 0.1 * len(sums.rows_NM)), unit="features"))
    return scores


_STATISTICS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "variance explained": lambda t: 1 - t[..., 0] / t[..., 1],
    "cosine": lambda t: t[..., 2] / t[..., 4],
    "L0": lambda t: t[..., 3] / t[..., 4],
}


def mean_of(store: ActivationStore, hookpoint: str, rows: NDArray[np.int64]) -> Float[Tensor, " D"]:
    """The mean of the given rows. Raises ConfigError naming shard and row of a number that is not finite."""
    total_D = torch.zeros(store.d_model(hookpoint), dtype=torch.float64)
    for i in range(0, len(rows), CHUNK_ROWS):
        total_D += store.read(rows[i : i + CHUNK_ROWS], hookpoint).double().sum(0)
    if not bool(torch.isfinite(total_D).all()):
        raise ConfigError(f"{store.fault(hookpoint)}: collect these activations again")
    return (total_D / max(len(rows), 1)).float()


def _share(claims_F: NDArray[np.bool_]) -> Interval:
    """Share of features for which a claim holds, with Wilson's 95 % interval over features."""
    n, share = len(claims_F), float(claims_F.mean())
    low, high = wilson(share, n)
    return Interval(value=share, low=float(low), high=float(high), n=n)
