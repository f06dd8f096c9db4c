"""How the error of a dictionary falls with its features and its training tokens, fitted to runs.

    L(F, T) = E + A·F^(-α) + B·F^γ·T^(-β)

With γ = 0 this is the form of Hoffmann et al. 2022 (arXiv 2203.15556), features in place of parameters; γ > 0 says that
more features need more tokens, as each is seen less often. In the limit of long training the last part vanishes and
Gao et al.'s L(n, k) = e^(α + β_n·log n) + e^ζ at a fixed number of active features remains (arXiv 2406.04093, section
3.1). Compute is taken as C ∝ F·T, the encoder's product.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bathyscope.errors import ConfigError

LOWEST, HIGHEST = 0.02, 2.0
"""Exponents that are looked for."""
HIGHEST_GAMMA = 1.0
"""γ is looked for between this and its negative."""
LEAST_RUNS = 8
_GRID, _ROUNDS, _SHRINK = 9, 16, 1.6
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
    gamma: float = 0.0
    """γ, by which more features need more tokens."""

    def loss(self, n_features: int | float, n_tokens: int | float) -> float:
        """L(F, T)."""
        short = self.of_tokens * n_features**self.gamma * n_tokens**-self.beta
        return self.floor + self.of_features * n_features**-self.alpha + short

    @property
    def feature_share(self) -> float:
        """Exponent of compute in the best number of features at given compute: F ∝ C^(β / (α + β + γ)).

        The other part goes to tokens. It follows from dL = 0 along F·T = C.
        """
        return self.beta / (self.alpha + self.beta + self.gamma)


def fit_law(runs: Sequence[Run], *, separate: bool = False) -> Law:
    """The law of least squared relative errors; with `separate` among those of γ = 0.

    Raises ConfigError for runs that cannot tell its parts apart.
    """
    _require_spread(runs)
    F, T, loss = (np.array([getattr(run, name) for run in runs]) for name in ("n_features", "n_tokens", "loss"))
    steps = np.linspace(-0.5, 0.5, _GRID)
    axes = (steps, steps, np.zeros(1) if separate else steps)
    grid_G3 = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    low = np.array([math.log(LOWEST), math.log(LOWEST), -HIGHEST_GAMMA])
    high = np.array([math.log(HIGHEST), math.log(HIGHEST), HIGHEST_GAMMA])
    centre, width = np.array([math.log(0.3), math.log(0.3), 0.0]), high - low
    best_error, parts = np.inf, np.zeros(3)
    for _ in range(_ROUNDS):
        at_G3 = np.clip(centre + grid_G3 * width, low, high)
        error_G, parts_G3 = _parts(F, T, loss, np.exp(at_G3[:, 0]), np.exp(at_G3[:, 1]), at_G3[:, 2])
        least = int(error_G.argmin())
        if error_G[least] < best_error:
            best_error, parts, centre = error_G[least], parts_G3[least], at_G3[least]
        width = width / _SHRINK
    floor, of_features, of_tokens = parts.tolist()
    alpha, beta, gamma = *np.exp(centre[:2]).tolist(), float(centre[2])
    return Law(floor=floor, of_features=of_features, of_tokens=of_tokens, alpha=alpha, beta=beta, gamma=gamma)


def resampled_laws(runs: Sequence[Run], *, n: int, seed: int, separate: bool = False) -> list[Law]:
    """Laws of runs drawn with replacement: the spread of what `fit_law` finds. Draws without enough spread are redone.

    Raises ConfigError when the runs themselves do not suffice.
    """
    _require_spread(runs)
    rng = np.random.default_rng(seed)
    found: list[Law] = []
    while len(found) < n:
        drawn = [runs[i] for i in rng.integers(len(runs), size=len(runs))]
        if _has_spread(drawn):
            found.append(fit_law(drawn, separate=separate))
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
    """Where the loss of a run that was not fitted should lie.

    It counts the spread of the laws, the spread of the runs around `law` and, beyond the largest size or the most
    tokens of the runs, how far off the law of the smaller ones was at the largest: a law of the wrong form fits well
    and predicts badly. Such errors count in both directions, and add up beyond both; they are left out where the
    smaller runs do not suffice for a law.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.choice([_off(law, run) for run in runs], size=len(laws))
    for name, value in (("n_features", n_features), ("n_tokens", n_tokens)):
        most = max(getattr(run, name) for run in runs)
        smaller = [run for run in runs if getattr(run, name) < most]
        if value > most and _has_spread(smaller):
            below = fit_law(smaller, separate=law.gamma == 0)
            errors = [_off(below, run) for run in runs if getattr(run, name) == most]
            drawn = drawn + rng.choice(errors, size=len(laws)) * rng.choice([-1, 1], size=len(laws))
    losses = [one.loss(n_features, n_tokens) * math.exp(off) for one, off in zip(laws, drawn, strict=True)]
    return interval(losses, level=level)


def _off(law: Law, run: Run) -> float:
    """Logarithm of measured over predicted."""
    return math.log(run.loss / law.loss(run.n_features, run.n_tokens))


def _parts(
    F: Int[np.ndarray, " R"],
    T: Int[np.ndarray, " R"],
    loss: Float[np.ndarray, " R"],
    alpha_G: Float[np.ndarray, " G"],
    beta_G: Float[np.ndarray, " G"],
    gamma_G: Float[np.ndarray, " G"],
) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, "G 3"]]:
    """For each triple of exponents (E, A, B) ≥ 0 of least squared relative error, and that error.

    Every choice of parts that are above zero is solved; the best one whose parts are is the least of all.
    """
    G = len(alpha_G)
    columns = (np.ones((G, len(F))), F ** -alpha_G[:, None], F ** gamma_G[:, None] * T ** -beta_G[:, None])
    table_GR3 = np.stack(columns, axis=-1) / loss[:, None]
    scale_G3 = np.linalg.norm(table_GR3, axis=1)
    table_GR3 = table_GR3 / scale_G3[:, None]
    best_G, parts_G3 = np.full(G, np.inf), np.zeros((G, 3))
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
            f"{len(runs)} runs do not tell six numbers apart: give at least {LEAST_RUNS} that differ, with three "
            "numbers of features and three of tokens"
        )
    if any(run.loss <= 0 for run in runs):
        raise ConfigError("a loss is 0 or less: relative errors need positive losses")
