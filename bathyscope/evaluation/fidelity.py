"""How much of a layer dictionaries keep, on held-out documents, beside what nulls of the same size keep.

Variance explained, L0, cosine and dead share come from stored activations; cross-entropy and KL from splicing the
reconstruction into the model. The same figures are taken for a random dictionary, the mean vector and a zeroed layer.
What several dictionaries have in common (the rows, the model up to the hookpoint, the nulls) is computed once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.activations.match import require_same_model, shared_hookpoint
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import bootstrap, by_document
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.reconstruction import Subject, mean_of, reconstruction_scores, reconstruction_sums
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.segments import held_out_segments, segment_batches
from bathyscope.evaluation.splice import Replacement, splice_losses
from bathyscope.models.model import Model


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


DEFAULTS = FidelitySettings()


def fidelity(
    model: Model,
    dictionary: Dictionary,
    store: ActivationStore,
    *,
    out: Path,
    parents: dict[str, Path],
    settings: FidelitySettings = DEFAULTS,
) -> list[Score]:
    """Score rows for the dictionary and its nulls, also written to the folder `out` (kind `scores`).

    `parents` are the folders of the dictionary and the store. Interrupted runs resume after the last finished batch.
    Raises ModelError or ConfigError when model, dictionary and store do not belong together.
    """
    recipe = Recipe(kind="scores", config=settings, seed=settings.seed, parents=parents, materials=store.materials)
    if not artifacts.is_finished(out, recipe):
        plan = planned(model, {"": dictionary}, store, settings)
        with artifacts.draft(out, recipe) as work:
            write_scores(work.path, measure(plan, work)[""])
    return read_scores(out)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What is to be measured, checked."""

    model: Model
    dictionaries: Mapping[str, Dictionary]
    store: ActivationStore
    hookpoint: str
    rows: NDArray[np.int64]
    """Held-out rows for the figures of reconstruction."""
    settings: FidelitySettings


def planned(
    model: Model, dictionaries: Mapping[str, Dictionary], store: ActivationStore, settings: FidelitySettings
) -> Plan:
    """Check everything that can be checked before work starts: one hookpoint, one model, held-out rows."""
    hookpoints: dict[str, str] = {}
    for name, dictionary in dictionaries.items():
        dictionary.require_one_place("fidelity")
        require_same_model(model, dictionary, store)
        hookpoints[shared_hookpoint(dictionary, store)] = name
    if len(hookpoints) != 1:
        told = ", ".join(f"{name} at {hookpoint}" for hookpoint, name in hookpoints.items())
        raise ConfigError(f"dictionaries are compared at one hookpoint, found {told or 'no dictionary'}")
    rows = _spread(store.rows("held_out"), settings.n_rows)
    if len(rows) == 0:
        raise ConfigError(f"{store.path} holds no held-out document: collect more text or a larger held-out share")
    return Plan(
        model=model,
        dictionaries=dictionaries,
        store=store,
        hookpoint=next(iter(hookpoints)),
        rows=rows,
        settings=settings,
    )


def measure(plan: Plan, work: Draft) -> dict[str, list[Score]]:
    """For each dictionary the rows that `fidelity` gives of it alone, to the last digit."""
    store, hookpoint, settings = plan.store, plan.hookpoint, plan.settings
    x_ND = store.read(_spread(store.rows("train"), 8192), hookpoint)
    mean_D = mean_of(store, hookpoint, _spread(store.rows("train"), settings.n_rows))
    nulls: dict[str, Dictionary] = {}
    own = {name: (f"dictionary {name}", _null(d, x_ND, nulls, settings.seed)) for name, d in plan.dictionaries.items()}
    learnt = {own[name][0]: dictionary for name, dictionary in plan.dictionaries.items()}
    subjects: dict[str, Subject] = {**learnt, **nulls, "mean": mean_D, "zeroed layer": mean_D * 0}
    sums = reconstruction_sums(subjects, store, hookpoint, plan.rows)
    documents_N = np.asarray(store.documents)[store.row_tokens()[plan.rows]]
    titles = {**dict.fromkeys(learnt, "dictionary"), **dict.fromkeys(nulls, "random dictionary")}
    stored = {
        key: reconstruction_scores(titles.get(key, key), sums[key], documents_N, seed=settings.seed) for key in subjects
    }
    arms: dict[str, Replacement] = {key: d.reconstruct for key, d in {**learnt, **nulls}.items()}
    arms["zeroed layer"] = torch.zeros_like
    arms["mean"] = lambda x_ND: mean_D.to(x_ND.device).expand_as(x_ND)
    losses = _splice(plan, arms, work)
    spliced = {key: _arm_scores(titles.get(key, key), losses, key, seed=settings.seed) for key in arms}
    clean = _clean_score(losses, seed=settings.seed)
    found: dict[str, list[Score]] = {}
    for name, (key, null) in own.items():
        of_rows = [row for subject in (key, null, "mean", "zeroed layer") for row in stored[subject]]
        of_arms = [row for arm in (key, null, "zeroed layer", "mean") for row in spliced[arm]]
        found[name] = [*of_rows, clean, *of_arms]
    return found


def splice_scores(sums: dict[str, NDArray[np.float64]], *, seed: int) -> list[Score]:
    """CE loss, CE loss recovered (against the zeroed layer and against the mean) and KL for every arm.

    `sums[arm]` is [G, 3] per document: cross-entropy, KL(clean ‖ arm), predictions (`splice_losses`). Recovered =
    (CE_ablated - CE_arm) / (CE_ablated - CE_clean). All arms share the resampled documents, so intervals are paired.
    """
    arms = (name for name in sums if name != "clean")
    return [_clean_score(sums, seed=seed), *(row for arm in arms for row in _arm_scores(arm, sums, arm, seed=seed))]


def _clean_score(sums: Mapping[str, NDArray[np.float64]], *, seed: int) -> Score:
    return score("clean model", "CE loss", bootstrap(sums["clean"], lambda t: t[..., 0] / t[..., 2], seed=seed))


def _arm_scores(title: str, sums: Mapping[str, NDArray[np.float64]], arm: str, *, seed: int) -> list[Score]:
    arm_GM = np.concatenate([sums["clean"], sums["zeroed layer"], sums["mean"], sums[arm]], axis=1)
    return [score(title, name, bootstrap(arm_GM, statistic, seed=seed)) for name, statistic in _SPLICE.items()]


_SPLICE: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "CE loss": lambda t: t[..., 9] / t[..., 11],
    "CE loss recovered": lambda t: (t[..., 3] - t[..., 9]) / (t[..., 3] - t[..., 0]),
    "CE loss recovered over mean": lambda t: (t[..., 6] - t[..., 9]) / (t[..., 6] - t[..., 0]),
    "KL": lambda t: t[..., 10] / t[..., 11],
}


def _splice(plan: Plan, arms: Mapping[str, Replacement], work: Draft) -> dict[str, NDArray[np.float64]]:
    """Per-document sums of every arm, [G, 3] each; checkpointed after every batch."""
    settings = plan.settings
    segments = held_out_segments(plan.store, n_tokens=settings.n_tokens, seed=settings.seed)
    batches = list(segment_batches(plan.store, segments, tokens_per_batch=settings.tokens_per_batch))
    state: dict[str, Any] = work.state() or {"done": 0, "documents": [], "sums": {}}
    for number, batch in enumerate(batches):
        if number < state["done"]:
            continue
        for name, sums_B3 in splice_losses(plan.model, plan.hookpoint, batch, arms).items():
            state["sums"].setdefault(name, []).extend(sums_B3.tolist())
        state["documents"] += batch.documents_B.tolist()
        state["done"] = number + 1
        work.checkpoint(state)
        progress.report("evaluate", number + 1, len(batches), "batches")
    documents = np.array(state["documents"])
    return {name: by_document(documents, np.array(rows)) for name, rows in state["sums"].items()}


def _null(dictionary: Dictionary, x_ND: Tensor, nulls: dict[str, Dictionary], seed: int) -> str:
    """Name of the random dictionary with the trained one's size and number of active features, made when missing.

    It is scaled on training rows; dictionaries of equal size and L0 share it.
    """
    codes = dictionary.encode(x_ND)
    k = max(1, round(float((codes.values_NK != 0).sum(1).double().mean())))
    key = f"random {dictionary.n_features} {k}"
    if key not in nulls:
        nulls[key] = random_dictionary(dictionary, x_ND, k=k, seed=seed)
    return key


def _spread(rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """At most n of the rows, evenly spaced: the same rows every time, from all parts of the text."""
    if len(rows) <= n:
        return rows
    return rows[np.linspace(0, len(rows) - 1, n).astype(np.int64)]
