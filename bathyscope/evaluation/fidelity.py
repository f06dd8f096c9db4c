"""How much of a layer a dictionary keeps, on held-out documents, beside what nulls of the same size keep.

Variance explained, L0, cosine and dead share come from stored activations; cross-entropy and KL from splicing the
reconstruction into the model. The same figures are taken for a random dictionary, the mean vector and a zeroed layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import Interval, bootstrap, by_document
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.segments import held_out_segments, segment_batches
from bathyscope.evaluation.splice import Replacement, splice_losses
from bathyscope.models.model import Model

CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelitySettings:
    """Settings of `fidelity`."""

    n_rows: int = 50_000
    """Held-out activations for variance explained, L0, cosine and dead share (evenly spaced; all if fewer)."""
    n_tokens: int = 16_384
    """Held-out tokens on which the model is run again with the layer replaced."""
    tokens_per_batch: int = 1024
    """Tokens of one forward of the spliced model."""
    seed: int = 0
    """Seed of the random dictionary, the choice of documents and the bootstrap."""

    def __post_init__(self) -> None:
        if min(self.n_rows, self.n_tokens, self.tokens_per_batch) < 1:
            raise ConfigError("n_rows, n_tokens and tokens_per_batch must be at least 1")


def fidelity(
    model: Model,
    dictionary: Dictionary,
    store: ActivationStore,
    *,
    out: Path,
    parents: dict[str, Path],
    settings: FidelitySettings = FidelitySettings(),
) -> list[Score]:
    """Score rows for the dictionary and its nulls, also written to the folder `out` (kind `scores`).

    `parents` are the folders of the dictionary and the store. Interrupted runs resume after the last finished batch.
    """
    recipe = Recipe(kind="scores", config=settings, seed=settings.seed, parents=parents, materials=store.materials)
    if not artifacts.is_finished(out, recipe):
        hookpoint = dictionary.hookpoint or store.hookpoints[0]
        rows = _spread(store.rows("held_out"), settings.n_rows)
        if len(rows) == 0:
            raise ConfigError(f"{store.path} holds no held-out document: collect more text or a larger held-out share")
        with artifacts.draft(out, recipe) as work:
            null = _null(dictionary, store, hookpoint, settings.seed)
            mean_D = _mean(store, hookpoint, _spread(store.rows("train"), settings.n_rows))
            scores = reconstruction_scores(dictionary, null, store, hookpoint, rows, mean_D, seed=settings.seed)
            arms = _arms(dictionary, null, mean_D)
            scores += splice_scores(_splice(model, store, hookpoint, arms, settings, work), seed=settings.seed)
            write_scores(work.path, scores)
    return read_scores(out)


def reconstruction_scores(
    dictionary: Dictionary,
    null: Dictionary,
    store: ActivationStore,
    hookpoint: str,
    rows: NDArray[np.int64],
    mean_D: Tensor,
    *,
    seed: int,
) -> list[Score]:
    """Variance explained, cosine, L0 and dead share on `rows`, for the dictionary and the random one.

    EV = 1 - Σ‖x - x̂‖² / Σ‖x - x̄‖² with x̄ the mean of these rows. `mean_D` (the training mean) and zero are scored too;
    the cosine with zero counts as 0.
    """
    documents_N = np.asarray(store.documents)[store.row_tokens()[rows]]
    centre_D = _mean(store, hookpoint, rows)
    subjects = {"dictionary": dictionary, "random dictionary": null, "mean": mean_D, "zeroed layer": mean_D * 0}
    scores: list[Score] = []
    for name, subject in subjects.items():
        sums_NM, fires_F = _reconstruction_sums(subject, store, hookpoint, rows, centre_D)
        sums_GM = by_document(documents_N, sums_NM)
        for metric, statistic in _RECONSTRUCTION.items():
            if isinstance(subject, Dictionary) or metric != "L0":
                scores.append(score(name, metric, bootstrap(sums_GM, statistic, seed=seed)))
        if isinstance(subject, Dictionary):
            scores.append(score(name, "dead share", _share(fires_F == 0), unit="features"))
            scores.append(score(name, "dense share", _share(fires_F > 0.1 * len(rows)), unit="features"))
    return scores


_RECONSTRUCTION: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "variance explained": lambda t: 1 - t[..., 0] / t[..., 1],
    "cosine": lambda t: t[..., 2] / t[..., 4],
    "L0": lambda t: t[..., 3] / t[..., 4],
}


def splice_scores(sums: dict[str, NDArray[np.float64]], *, seed: int) -> list[Score]:
    """CE loss, CE loss recovered (against the zeroed layer and against the mean) and KL for every arm.

    `sums[arm]` is [G, 3] per document: cross-entropy, KL(clean ‖ arm), predictions (`splice_losses`). Recovered =
    (CE_ablated - CE_arm) / (CE_ablated - CE_clean). All arms share the resampled documents, so intervals are paired.
    """
    table_GM = np.concatenate([sums["clean"], sums["zeroed layer"], sums["mean"]], axis=1)
    scores = [score("clean model", "CE loss", bootstrap(table_GM, lambda t: t[..., 0] / t[..., 2], seed=seed))]
    for arm in (name for name in sums if name != "clean"):
        arm_GM = np.concatenate([table_GM, sums[arm]], axis=1)
        for name, statistic in _SPLICE.items():
            scores.append(score(arm, name, bootstrap(arm_GM, statistic, seed=seed)))
    return scores


_SPLICE: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "CE loss": lambda t: t[..., 9] / t[..., 11],
    "CE loss recovered": lambda t: (t[..., 3] - t[..., 9]) / (t[..., 3] - t[..., 0]),
    "CE loss recovered over mean": lambda t: (t[..., 6] - t[..., 9]) / (t[..., 6] - t[..., 0]),
    "KL": lambda t: t[..., 10] / t[..., 11],
}


def _splice(
    model: Model,
    store: ActivationStore,
    hookpoint: str,
    arms: dict[str, Replacement],
    settings: FidelitySettings,
    work: Draft,
) -> dict[str, NDArray[np.float64]]:
    """Per-document sums of every arm, [G, 3] each; checkpointed after every batch."""
    segments = held_out_segments(store, n_tokens=settings.n_tokens, seed=settings.seed)
    batches = list(segment_batches(store, segments, tokens_per_batch=settings.tokens_per_batch))
    state: dict[str, Any] = work.state() or {"done": 0, "documents": [], "sums": {}}
    for number, batch in enumerate(batches):
        if number < state["done"]:
            continue
        for name, sums_B3 in splice_losses(model, hookpoint, batch, arms).items():
            state["sums"].setdefault(name, []).extend(sums_B3.tolist())
        state["documents"] += batch.documents_B.tolist()
        state["done"] = number + 1
        work.checkpoint(state)
        progress.report("evaluate", number + 1, len(batches), "batches")
    documents = np.array(state["documents"])
    return {name: by_document(documents, np.array(rows)) for name, rows in state["sums"].items()}


def _arms(dictionary: Dictionary, null: Dictionary, mean_D: Tensor) -> dict[str, Replacement]:
    return {
        "dictionary": dictionary.reconstruct,
        "random dictionary": null.reconstruct,
        "zeroed layer": torch.zeros_like,
        "mean": lambda x_ND: mean_D.to(x_ND.device).expand_as(x_ND),
    }


def _null(dictionary: Dictionary, store: ActivationStore, hookpoint: str, seed: int) -> Dictionary:
    """A random dictionary with the trained one's number of active features, scaled on training rows."""
    x_ND = store.read(_spread(store.rows("train"), 8192), hookpoint)
    codes = dictionary.encode(x_ND)
    l0 = float((codes.values_NK != 0).sum(1).double().mean())
    return random_dictionary(dictionary, x_ND, k=max(1, round(l0)), seed=seed)


def _reconstruction_sums(
    subject: Dictionary | Tensor, store: ActivationStore, hookpoint: str, rows: NDArray[np.int64], centre_D: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Per row (squared error, squared deviation, cosine, active features, 1), and how often each feature fired.

    `subject` is a dictionary, or one vector [D] that stands for every activation.
    """
    n_features = subject.n_features if isinstance(subject, Dictionary) else 0
    fires_F = np.zeros(n_features, np.int64)
    parts: list[Tensor] = []
    for i in range(0, len(rows), CHUNK_ROWS):
        x_ND = store.read(rows[i : i + CHUNK_ROWS], hookpoint)
        active_N = torch.zeros(len(x_ND))
        if isinstance(subject, Dictionary):
            codes = subject.encode(x_ND)
            guess_ND, active_N = subject.decode(codes), (codes.values_NK != 0).sum(1).float()
            fires_F += codes.fires().numpy()
        else:
            guess_ND = subject.expand_as(x_ND)
        cosine_N = torch.nn.functional.cosine_similarity(x_ND, guess_ND, dim=1)
        error_N = (x_ND - guess_ND).double().square().sum(1)
        deviation_N = (x_ND - centre_D).double().square().sum(1)
        parts.append(torch.stack([error_N, deviation_N, cosine_N, active_N, torch.ones(len(x_ND))], dim=1))
    return torch.cat(parts).numpy(), fires_F


def _mean(store: ActivationStore, hookpoint: str, rows: NDArray[np.int64]) -> Tensor:
    total_D = torch.zeros(store.d_model(hookpoint), dtype=torch.float64)
    for i in range(0, len(rows), CHUNK_ROWS):
        total_D += store.read(rows[i : i + CHUNK_ROWS], hookpoint).double().sum(0)
    return (total_D / max(len(rows), 1)).float()


def _spread(rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """At most n of the rows, evenly spaced: the same rows every time, from all parts of the text."""
    if len(rows) <= n:
        return rows
    return rows[np.linspace(0, len(rows) - 1, n).astype(np.int64)]


def _share(claims_F: NDArray[np.bool_]) -> Interval:
    """Share of features for which a claim holds, with Wilson's 95 % interval over features."""
    n, share, z = len(claims_F), float(claims_F.mean()), 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half), n=n)
