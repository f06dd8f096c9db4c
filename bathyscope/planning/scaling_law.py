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
from jaxtyping import Float, Int

from bathyscope.errors import ConfigError

LOWEST, HIGHEST = 0.02, 2.0
"""Exponents that are looked for."""
LEAST_RUNS = 6
_GRID, _ROUNDS, _SHRINK = 17, 12, 1.6
_RIDGE = 1e-13
"""Keeps columns that are nearly alike solvable."""


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
    steps = np.linspace(-0.5, 0.5, _GRID)
    grid_G2 = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    centre, width = np.log([0.3, 0.3]), np.log(HIGHEST / LOWEST)
    best_error, parts, best = np.inf, np.zeros(3), np.exp(centre)
    for _ in range(_ROUNDS):
        exponents_G2 = np.clip(np.exp(centre + grid_G2 * width), LOWEST, HIGHEST)
        error_G, parts_G3 = _parts(F, T, loss, exponents_G2)
        least = int(error_G.argmin())
        if error_G[least] < best_error:
            best_error, parts, best = error_G[least], parts_G3[least], exponents_G2[least]
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
    F: Int[np.ndarray, " R"],
    T: Int[np.ndarray, " R"],
    loss: Float[np.ndarray, " R"],
    exponents_G2: Float[np.ndarray, "G 2"],
) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, "G 3"]]:
    """For each pair of exponents (E, A, B) ≥ 0 of least squared relative error, and that error.

    Every choice of parts that are above zero is solved; the best one whose parts are is the least of all.
    """
    alpha_G1, beta_G1 = exponents_G2[:, :1], exponents_G2[:, 1:]
    columns = (np.ones((len(exponents_G2), len(F))), F**-alpha_G1, T**-beta_G1)
    table_GR3 = np.stack(columns, axis=-1) / loss[:, None]
    scale_G3 = np.linalg.norm(table_GR3, axis=1)
    table_GR3 = table_GR3 / scale_G3[:, None]
    best_G, parts_G3 = np.full(len(exponents_G2), np.inf), np.zeros((len(exponents_G2), 3))
    for size in (1, 2, 3):
        for chosen in itertools.combinations(range(3), size):
            own_GRm = table_GR3[:, :, list(chosen)]
            normal_Gmm = own_GRm.swapaxes(1, 2) @ own_GRm + _RIDGE * np.eye(size)
            found_Gm = np.linalg.solve(normal_Gmm, own_GRm.sum(axis=1)[..., None])[..., 0]
            error_G = np.square((own_GRm @ found_Gm[..., None])[..., 0] - 1).sum(axis=1)
            better_G = (found_Gm >= 0).all(axis=1) & (error_G < best_G)
            best_G = np.where(better_G, error_G, best_G)
            parts_G3[better_G] = 0.0
            parts_G3[np.ix_(better_G, chosen)] = found_Gm[better_G]
    return best_G, parts_G3 / scale_G3


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
