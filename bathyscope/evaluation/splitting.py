"""Feature splitting: which features of a large dictionary come from which feature of a small one.

    parent(g) = argmax_f ⟨d_f, d_g⟩      f of the small, g of the large dictionary; kept where the cosine beats the null

A tree needs a null: the best of thousands of cosines is never small, and decoders crowd where activations are. Two are
given, random directions and random directions with the second moments of the large decoder; the threshold is a quantile
of the stricter one. With activations, a parent is also checked by firing: a child should fire where its parent does,
more than where a random feature that fires as often does.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.signs import require_positive_codes
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.nulls import seed_apart
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.stability import RANDOM, SHAPED, mean_over_features, random_like, shaped_like, unit_rows

TREE = "tree.jsonl"
OWN = "large dictionary"
TWINS = "children that bear their parent's number"
"""Next to none by chance. Where it is not, both were trained with one seed and still stand where they started."""
CHUNK_ROWS = 1024
ENCODED_ROWS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class SplittingSettings:
    """Where the threshold lies, and how much firing is compared."""

    quantile: float = 0.99
    """A child's cosine with its parent is above this quantile of the stricter null's best cosines."""
    n_rows: int = 20_000
    """Held-out activations on which firing is compared; evenly spaced."""
    min_firing: int = 10
    """Fewest firings of a child for its firing to be compared."""
    seed: int = 0
    """Seed of the nulls and the bootstrap."""

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1 or min(self.n_rows, self.min_firing) < 1:
            raise ConfigError("quantile must be between 0 and 1, n_rows and min_firing at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A feature of the large dictionary below one of the small one."""

    feature: int
    cosine: float
    """Of its decoder row with its parent's."""
    contained: float | None
    """Share of its firings on which the parent fires, too; None where it was not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One row of `tree.jsonl`: a feature of the small dictionary and what it became."""

    feature: int
    children: tuple[Child, ...]
    """By cosine, highest first."""


class _Parents(NamedTuple):
    """The nearest row of the small dictionary for each of G rows, and its cosine."""

    features_G: Int[np.ndarray, " G"]
    cosines_G: Float[np.ndarray, " G"]


def splitting(
    small: Dictionary,
    large: Dictionary,
    *,
    out: str | Path,
    store: ActivationStore | None = None,
    parents: Mapping[str, Path] | None = None,
    settings: SplittingSettings = SplittingSettings(),
) -> list[Score]:
    """How the features of `small` split in `large`, beside two nulls, in the folder `out` (kind `scores`).

    `tree.jsonl` holds a row for each feature of `small`. Raises ConfigError when the two write vectors of different
    widths or are the same dictionary.
    """
    out = Path(out)
    if small.d_out != large.d_out:
        raise ConfigError(
            f"the dictionaries write vectors of width {small.d_out} and {large.d_out}: no tree joins them"
        )
    if small.digest == large.digest:
        raise ConfigError("both are the same dictionary: every feature is its own child")
    if store is not None:
        for each in (small, large):
            require_positive_codes(each, "comparing where features fire")
    recipe = Recipe(
        kind="scores",
        config={"subject": "feature splitting", "small": small.digest, "large": large.digest, "settings": settings},
        seed=settings.seed,
        parents=parents or {},
        materials=() if store is None else store.materials,
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            rows, tree = _measure(small, large, store, settings)
            write_scores(work.path, rows)
            lines = "".join(json.dumps(asdict(branch), sort_keys=True) + "\n" for branch in tree)
            artifacts.write_atomic(work.path / TREE, lines.encode())
    return read_scores(out)


def read_tree(path: Path) -> list[Branch]:
    """The tree of a finished folder. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind="scores")
    text = artifacts.check_file(path, manifest, TREE).read_text()
    rows = [json.loads(line) for line in text.splitlines() if line]
    return [Branch(feature=row["feature"], children=tuple(Child(**child) for child in row["children"])) for row in rows]


def _measure(
    small: Dictionary, large: Dictionary, store: ActivationStore | None, settings: SplittingSettings
) -> tuple[list[Score], list[Branch]]:
    generator = torch.Generator().manual_seed(seed_apart(settings.seed))
    small_FD, large_GD = unit_rows(small.W_dec), unit_rows(large.W_dec)
    subjects = {
        OWN: _nearest(small_FD, large_GD),
        RANDOM: _nearest(small_FD, random_like(large_GD, generator)),
        SHAPED: _nearest(small_FD, shaped_like(large_GD, generator)),
    }
    threshold = max(float(np.quantile(subjects[null].cosines_G, settings.quantile)) for null in (RANDOM, SHAPED))
    rows = [_fixed("threshold", "cosine", threshold, large.n_features)]
    for name, found in subjects.items():
        rows += _shares(name, found, small.n_features, threshold, settings.seed)
    own = subjects[OWN]
    has_parent_G = own.cosines_G > threshold
    if has_parent_G.any():
        same_G = own.features_G == np.arange(large.n_features)
        interval = mean_over_features(same_G[has_parent_G].astype(np.float64), settings.seed)
        rows.append(score(OWN, TWINS, interval, unit="children"))
    contained_G = np.full(large.n_features, np.nan)
    if store is not None:
        more, contained_G = _containment(small, large, own, has_parent_G, store, settings)
        rows += more
    return rows, _tree(own, has_parent_G, contained_G, small.n_features)


def _nearest(small_FD: Float[Tensor, "F D"], large_GD: Float[Tensor, "G D"]) -> _Parents:
    best = [(part_ND @ small_FD.T).max(1) for part_ND in large_GD.split(CHUNK_ROWS)]
    features = torch.cat([part.indices for part in best]).numpy()
    return _Parents(features, torch.cat([part.values for part in best]).double().numpy())


def _shares(name: str, found: _Parents, n_small: int, threshold: float, seed: int) -> list[Score]:
    """Shares of features with a parent, with children, with several, and the mean best cosine."""
    has_parent_G = found.cosines_G > threshold
    n_children_F = np.bincount(found.features_G[has_parent_G], minlength=n_small)
    figures = {
        "mean best cosine": found.cosines_G,
        "large features with a parent": has_parent_G,
        "small features with a child": n_children_F > 0,
        "small features with several children": n_children_F > 1,
        "children of a small feature": n_children_F,
    }
    return [
        score(name, metric, mean_over_features(values.astype(np.float64), seed), unit="features")
        for metric, values in figures.items()
    ]


def _fixed(subject: str, metric: str, value: float, n: int) -> Score:
    """A figure that is set, not estimated."""
    return score(subject, metric, Interval(value=value, low=value, high=value, n=n), unit="features")


def _containment(
    small: Dictionary,
    large: Dictionary,
    own: _Parents,
    has_parent_G: Bool[np.ndarray, " G"],
    store: ActivationStore,
    settings: SplittingSettings,
) -> tuple[list[Score], Float[np.ndarray, " G"]]:
    """Share of each child's firings on which its parent fires, beside that of another feature of like density."""
    small_NF, large_NG = _firing_on(small, large, store, settings.n_rows)
    n_small_F, n_large_G = small_NF.sum(0).numpy(), large_NG.sum(0).numpy()
    compared = np.flatnonzero(has_parent_G & (n_large_G >= settings.min_firing))
    if len(compared) == 0:
        return [], np.full(len(has_parent_G), np.nan)
    parent_C, other_C = own.features_G[compared], _like_density(n_small_F, own.features_G[compared])
    together_C, beside_C = np.zeros(len(compared)), np.zeros(len(compared))
    for start in range(0, len(compared), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        children_NC = large_NG[:, torch.from_numpy(compared[part])]
        together_C[part] = (children_NC & small_NF[:, torch.from_numpy(parent_C[part])]).sum(0).numpy()
        beside_C[part] = (children_NC & small_NF[:, torch.from_numpy(other_C[part])]).sum(0).numpy()
    together_C, beside_C = together_C / n_large_G[compared], beside_C / n_large_G[compared]
    contained_G = np.full(len(has_parent_G), np.nan)
    contained_G[compared] = together_C
    metric = "child's firings on which the parent fires"
    rows = [
        score(OWN, metric, mean_over_features(together_C, settings.seed), unit="children"),
        score(
            "another feature that fires as often", metric, mean_over_features(beside_C, settings.seed), unit="children"
        ),
    ]
    return rows, contained_G


def _like_density(n_fires_F: Int[np.ndarray, " F"], features: Int[np.ndarray, " C"]) -> Int[np.ndarray, " C"]:
    """For each of some features the other one whose number of firings is nearest (its neighbour in that order)."""
    order = np.argsort(n_fires_F, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    beside = np.where(place[features] + 1 < len(order), place[features] + 1, place[features] - 1)
    return order[beside]


def _firing_on(
    small: Dictionary, large: Dictionary, store: ActivationStore, n_rows: int
) -> tuple[Bool[Tensor, "N F"], Bool[Tensor, "N G"]]:
    """Where both fire on held-out activations. Memory: one byte for each token and feature."""
    rows = store.rows("held_out")
    if len(rows) == 0:
        raise ConfigError(f"{store.path} holds no held-out document: collect more text or a larger held-out share")
    chosen = rows if len(rows) <= n_rows else rows[np.linspace(0, len(rows) - 1, n_rows).astype(np.int64)]
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for start in range(0, len(chosen), ENCODED_ROWS):
        part = chosen[start : start + ENCODED_ROWS]
        for dictionary, kept in zip((small, large), found, strict=True):
            x_ND = store.read(part, store.hookpoint(dictionary.hookpoint))
            kept.append(dictionary.encode(x_ND.float()).dense() > 0)
        progress.report("splitting", start + len(part), len(chosen), "tokens")
    return torch.cat(found[0]), torch.cat(found[1])


def _tree(
    own: _Parents, has_parent_G: Bool[np.ndarray, " G"], contained_G: Float[np.ndarray, " G"], n_small: int
) -> list[Branch]:
    """The branches in order of the small dictionary's features, childless ones included."""
    children: dict[int, list[Child]] = {feature: [] for feature in range(n_small)}
    for g in np.flatnonzero(has_parent_G)[np.argsort(-own.cosines_G[has_parent_G], kind="stable")].tolist():
        contained = None if np.isnan(contained_G[g]) else round(float(contained_G[g]), 6)
        child = Child(feature=g, cosine=round(float(own.cosines_G[g]), 6), contained=contained)
        children[int(own.features_G[g])].append(child)
    return [Branch(feature=feature, children=tuple(own)) for feature, own in children.items()]
