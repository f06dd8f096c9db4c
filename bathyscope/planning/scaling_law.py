"""How the error of a dictionary falls with its features and its training tokens, fitted to runs.

    L(F, T) = E + A·F^(-α) + B·T^(-β)

The form of Hoffmann et al. 2022 (arXiv 2203.15556) with features in place of parameters; at a fixed number of active
features it is Gao et al.'s L(n, k) = e^(α + β_n·log n) + e^ζ (arXiv 2406.04093, section 3.1) with what training too
short leaves. In the limit of long training B·T^(-β) vanishes. Compute is taken as C ∝ F·T, the encoder's product.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.errors import ConfigError

LOWEST, HIGHEST = 0.02, 2.0
"""Exponents that are looked for."""
LEAST_RUNS = 6
_GRID, _ROUNDS, _SHRINK = 9, 6, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One trained dictionary."""

    n_features: int
    """F."""
    n_tokens: int
    """T, tokens of training."""
    loss: float
    """Its error on held-out activations, such as the share of variance that is left unexplained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A fitted law."""

    floor: float
    """E, what neither features nor tokens take away."""
    of_features: float
    """A."""
    of_tokens: float
    """B."""
    alpha: float
    """α, exponent of features."""
    beta: float
    """β, exponent of tokens."""

    def loss(self, n_features: int | float, n_tokens: int | float) -> float:
        """L(F, T)."""
        return self.floor + self.of_features * n_features**-self.alpha + self.of_tokens * n_tokens**-self.beta

    @property
    def feature_share(self) -> float:
        """Exponent of compute in the best number of features at given compute: F ∝ C^(β / (α + β)).

        The other part goes to tokens. It follows from dL = 0 along F·T = C.
        """
        return self.beta / (self.alpha + self.beta)


def fit_law(runs: Sequence[Run]) -> Law:
    """The law of least squared relative errors. Raises ConfigError for runs that cannot tell its parts apart."""
    _require_spread(runs)
    F, T, loss = (np.array([getattr(run, name) for run in runs]) for name in ("n_features", "n_tokens", "loss"))
    centre, width = np.log([0.3, 0.3]), np.log(HIGHEST / LOWEST)
    best_error, parts, best = np.inf, np.zeros(3), np.exp(centre)
    for _ in range(_ROUNDS):
        steps = np.linspace(-0.5, 0.5, _GRID) * width
        for a, b in itertools.product(steps, steps):
            exponents = np.clip(np.exp(centre + np.array([a, b])), LOWEST, HIGHEST)
            error, found = _parts(F, T, loss, exponents)
            if error < best_error:
                best_error, parts, best = error, found, exponents
        centre, width = np.log(best), width / _SHRINK
    floor, of_features, of_tokens = parts.tolist()
    alpha, beta = best.tolist()
    return Law(floor=floor, of_features=of_features, of_tokens=of_tokens, alpha=alpha, beta=beta)


def resampled_laws(runs: Sequence[Run], *, n: int, seed: int) -> list[Law]:
    """Laws of runs drawn with replacement: the spread of what `fit_law` finds. Draws without enough spread are redone.

    Raises ConfigError when the runs themselves do not suffice.
    """
    _require_spread(runs)
    rng = np.random.default_rng(seed)
    found: list[Law] = []
    while len(found) < n:
        drawn = [runs[i] for i in rng.integers(len(runs), size=len(runs))]
        if _has_spread(drawn):
            found.append(fit_law(drawn))
    return found


def interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of the values."""
    low, high = np.quantile(np.asarray(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def predicted_interval(
    law: Law,
    laws: Sequence[Law],
    runs: Sequence[Run],
    *,
    n_features: int,
    n_tokens: int,
    seed: int,
    level: float = 0.95,
) -> tuple[float, float]:
    """Where the loss of a run that was not fitted should lie: spread of the laws, and of the runs around `law`."""
    rng = np.random.default_rng(seed)
    spread = [run.loss / law.loss(run.n_features, run.n_tokens) for run in runs]
    drawn = rng.choice(spread, size=len(laws))
    return interval([one.loss(n_features, n_tokens) * s for one, s in zip(laws, drawn, strict=True)], level=level)


def _parts(
    F: NDArray[np.int64], T: NDArray[np.int64], loss: Float[np.ndarray, " R"], exponents: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """(E, A, B) ≥ 0 of least squared relative error at given exponents, and that error."""
    table_R3 = np.stack([np.ones(len(F)), F ** -exponents[0], T ** -exponents[1]], axis=1) / loss[:, None]
    scale = table_R3.max(axis=0)
    best_error, best = np.inf, np.zeros(3)
    for size in (3, 2, 1):
        for chosen in itertools.combinations(range(3), size):
            columns = list(chosen)
            found, *_ = np.linalg.lstsq(table_R3[:, columns] / scale[columns], np.ones(len(F)), rcond=None)
            if (found < 0).any():
                continue
            parts = np.zeros(3)
            parts[columns] = found / scale[columns]
            error = float(np.square(table_R3 @ parts - 1).sum())
            if error < best_error:
                best_error, best = error, parts
        if np.isfinite(best_error):
            break
    return best_error, best


def _has_spread(runs: Sequence[Run]) -> bool:
    features, tokens = {run.n_features for run in runs}, {run.n_tokens for run in runs}
    distinct = {(run.n_features, run.n_tokens) for run in runs}
    return len(features) >= 3 and len(tokens) >= 3 and len(distinct) >= LEAST_RUNS


def _require_spread(runs: Sequence[Run]) -> None:
    if not _has_spread(runs):
        raise ConfigError(
            f"{len(runs)} runs do not tell five numbers apart: give at least {LEAST_RUNS} that differ, with three "
            "numbers of features and three of tokens"
        )
    if any(run.loss <= 0 for run in runs):
        raise ConfigError("a loss is 0 or less: relative errors need positive losses")
