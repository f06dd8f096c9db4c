"""Seed stability: do two dictionaries have the same features?

cosines C[i, j] = ⟨d_i, d'_j⟩ of unit decoder rows (|C| where a rule gives signed codes).
mean max cosine = mean_i max_j C[i, j]; matched cosine = mean of C over the one-to-one assignment with the largest sum.
A high figure needs a null: the largest of many random cosines is far from 0. Two are given: random directions, and
random directions with the covariance of the rows themselves (features crowd where activations are, whatever the seed).
Intervals resample features; features of one dictionary are not independent, so they are no more than a guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.signs import is_signed
from bathyscope.errors import ConfigError
from bathyscope.evaluation.assignment import matched_cosines, nearest_cosines
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores

RANDOM, SHAPED = "random directions", "random directions of the same covariance"
LEVELS = (0.7, 0.9)
"""Cosines from which two features count as the same, loosely and strictly."""
RESAMPLES = 200
CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilitySettings:
    """What is compared."""

    n_rows: int = 20_000
    """Held-out activations on which firing is counted, for the figures weighted by it; evenly spaced."""
    exact_pairs: int = 1 << 25
    """Most pairs of features that are assigned exactly; beyond, each feature is offered its nearest ones only."""
    n_nearest: int = 32
    """How many nearest features each is offered then."""
    seed: int = 0
    """Seed of the random directions and the bootstrap."""

    def __post_init__(self) -> None:
        if min(self.n_rows, self.n_nearest) < 1 or self.exact_pairs < 0:
            raise ConfigError("n_rows and n_nearest must be at least 1, exact_pairs at least 0")


def stability(
    dictionary_a: Dictionary,
    dictionary_b: Dictionary,
    *,
    x_ND: Float[Tensor, "N D"] | None = None,
    name: str = "pair",
    settings: StabilitySettings = StabilitySettings(),
) -> list[Score]:
    """How far the features of two dictionaries agree, beside two nulls of the same sizes.

    Features of `a` that have no partner left (a larger than b) count with a matched cosine of 0 in the shares and are
    left out of the matched mean, which is over min(F_a, F_b) pairs. With `x_ND`, means weighted by how often a's
    features fire on those activations are given too. Above `exact_pairs` the matched figures are a lower bound.
    """
    require_science("comparing dictionaries")
    if dictionary_a.W_dec.shape[1] != dictionary_b.W_dec.shape[1]:
        widths = f"{dictionary_a.W_dec.shape[1]} and {dictionary_b.W_dec.shape[1]}"
        raise ConfigError(f"the dictionaries write vectors of width {widths}: their features cannot be compared")
    generator = torch.Generator().manual_seed(settings.seed)
    signed = any(is_signed(each.rule) for each in (dictionary_a, dictionary_b))
    rows_a, rows_b = unit_rows(dictionary_a.W_dec), unit_rows(dictionary_b.W_dec)
    subjects = {
        name: (rows_a, rows_b),
        f"{name}, {RANDOM}": (random_like(rows_a, generator), random_like(rows_b, generator)),
        f"{name}, {SHAPED}": (shaped_like(rows_a, generator), shaped_like(rows_b, generator)),
    }
    weights_F = None if x_ND is None else _firing(dictionary_a, x_ND)
    found: list[Score] = []
    for subject, (a_FD, b_FD) in subjects.items():
        found += _rows(subject, a_FD, b_FD, weights_F, is_signed=signed, settings=settings)
    return found


def stability_table(
    dictionaries: Mapping[str, Dictionary],
    *,
    out: str | Path,
    store: ActivationStore | None = None,
    parents: Mapping[str, Path] | None = None,
    settings: StabilitySettings = StabilitySettings(),
) -> list[Score]:
    """`stability` of every pair of the dictionaries, also in the folder `out` (kind `scores`).

    With a store, firing is counted on its held-out activations.
    """
    out = Path(out)
    if len(dictionaries) < 2:
        raise ConfigError(f"{len(dictionaries)} dictionary was given, expected at least two to compare")
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "seed stability",
            "dictionaries": {name: each.digest for name, each in dictionaries.items()},
            "settings": settings,
        },
        seed=settings.seed,
        parents=parents or {},
        materials=() if store is None else store.materials,
    )
    if not artifacts.is_finished(out, recipe):
        pairs = list(combinations(dictionaries, 2))
        x_ND = None if store is None else _held_out(store, next(iter(dictionaries.values())), settings.n_rows)
        with artifacts.draft(out, recipe) as work:
            rows: list[Score] = []
            for number, (a, b) in enumerate(pairs):
                pair = (dictionaries[a], dictionaries[b])
                rows += stability(*pair, x_ND=x_ND, name=f"{a} ~ {b}", settings=settings)
                progress.report("stability", number + 1, len(pairs), "pairs")
            write_scores(work.path, rows)
    return read_scores(out)


def _rows(
    subject: str,
    a_FD: Float[Tensor, "F D"],
    b_GD: Float[Tensor, "G D"],
    weights_F: Float[np.ndarray, " F"] | None,
    *,
    is_signed: bool,
    settings: StabilitySettings,
) -> list[Score]:
    nearest_F = nearest_cosines(a_FD, b_GD, is_signed=is_signed)
    found = matched_cosines(
        a_FD, b_GD, is_signed=is_signed, exact_pairs=settings.exact_pairs, n_nearest=settings.n_nearest
    )
    matched = "matched cosine" if found.is_exact else "matched cosine (lower bound)"
    figures = {"mean max cosine": nearest_F, matched: np.sort(found.cosine_F)[::-1][: min(len(a_FD), len(b_GD))]}
    figures |= {f"share matched above {level:g}": (found.cosine_F > level).astype(np.float64) for level in LEVELS}
    rows = [
        score(subject, metric, mean_over_features(v, settings.seed), unit="features") for metric, v in figures.items()
    ]
    if weights_F is not None:
        by_firing = {"mean max cosine, by firing": nearest_F}
        by_firing |= {f"share matched above {level:g}, by firing": found.cosine_F > level for level in LEVELS}
        for metric, values_F in by_firing.items():
            interval = mean_over_features(values_F.astype(np.float64), settings.seed, weights_F=weights_F)
            rows.append(score(subject, metric, interval, unit="features"))
    return rows


def mean_over_features(
    values_F: Float[np.ndarray, " F"], seed: int, *, weights_F: Float[np.ndarray, " F"] | None = None
) -> Interval:
    """The mean, weighted if asked, with an interval from resampling features."""
    weights_F = np.ones(len(values_F)) if weights_F is None else weights_F
    generator, n = np.random.default_rng(seed), len(values_F)
    value = float((values_F * weights_F).sum() / weights_F.sum())
    figures: list[float] = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(0, n, n)
        figures.append(float((values_F * weights_F)[drawn].sum() / max(weights_F[drawn].sum(), 1e-30)))
    low, high = np.quantile(figures, [0.025, 0.975])
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value), n=n)


def _firing(dictionary: Dictionary, x_ND: Float[Tensor, "N D"]) -> Float[np.ndarray, " F"]:
    """Share of the tokens on which each feature fires. Raises ConfigError when none ever does."""
    fires_F: Int[Tensor, " F"] = torch.zeros(dictionary.n_features, dtype=torch.int64)
    for start in range(0, len(x_ND), CHUNK_ROWS):
        fires_F += dictionary.encode(x_ND[start : start + CHUNK_ROWS]).fires().cpu()
    if not bool(fires_F.any()):
        raise ConfigError("no feature of the first dictionary fires on the given activations: are they its own?")
    return fires_F.double().numpy() / len(x_ND)


def _held_out(store: ActivationStore, dictionary: Dictionary, n_rows: int) -> Float[Tensor, "N D"]:
    rows = store.rows("held_out")
    if len(rows) == 0:
        raise ConfigError(f"{store.path} holds no held-out document: collect more text or a larger held-out share")
    chosen = rows if len(rows) <= n_rows else rows[np.linspace(0, len(rows) - 1, n_rows).astype(np.int64)]
    return store.read(chosen, store.hookpoint(dictionary.hookpoint))


def unit_rows(rows_FD: Float[Tensor, "F D"]) -> Float[Tensor, "F D"]:
    """The rows at length 1, in float32 on the CPU."""
    return torch.nn.functional.normalize(rows_FD.detach().float().cpu(), dim=1)


def random_like(like_FD: Float[Tensor, "F D"], generator: torch.Generator) -> Float[Tensor, "F D"]:
    """As many uniformly random unit vectors."""
    return unit_rows(torch.randn(*like_FD.shape, generator=generator))


def shaped_like(like_FD: Float[Tensor, "F D"], generator: torch.Generator) -> Float[Tensor, "F D"]:
    """Gaussian directions with the second moments E[d dᵀ] of the rows: `z @ L.T` with L Lᵀ their matrix."""
    moments_DD = like_FD.double().T @ like_FD.double() / len(like_FD)
    values_D, vectors_DD = torch.linalg.eigh(moments_DD)
    root_DD = vectors_DD * values_D.clamp_min(0).sqrt()
    noise_FD = torch.randn(*like_FD.shape, generator=generator, dtype=torch.float64)
    return unit_rows((noise_FD @ root_DD.T).float())
