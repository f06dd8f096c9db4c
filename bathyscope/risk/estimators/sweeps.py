"""`Sweeps`: what the chains of a ladder saw, and the probability that follows from it.

Samples of all rungs are pooled by MBAR (`mbar.py`). Each move counts where it was and where it might have gone, by the
probability of going (waste recycling, Frenkel 2004). An input that shows the event and that another chain, or the pilot,
saw too counts with its exact probability; the others are weighed: for each chain, what the rest saw is known and only
what they did not see is estimated.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.mbar import Pool, free_energies, log_weight

MOST_CELLS = 1000
"""Scores are pooled in so many cells at most, hits in one of their own."""
N_RESAMPLES = 100
"""Of the chains, for the interval."""
APART = 1.2
"""R-hat of the hits beyond which chains disagree."""


@dataclass(slots=True)
class Sweeps:
    """What happened: one entry per sweep."""

    beta_K: Float[Tensor, " K"]
    """Inverse temperatures of the rungs, from 0."""
    known: frozenset[bytes]
    """Inputs that the pilot saw to show the event."""
    exact: bool
    """Whether inputs that several chains saw count with their exact probability."""
    log_p: dict[bytes, float]
    """Input that shows the event → logarithm of its probability."""
    hits: tuple[dict[bytes, float], ...]
    """For each chain: input that shows the event → how often it was there, by the weights."""
    energies: list[Float[Tensor, "2 K C"]] = field(default_factory=list[Tensor])
    """Before each move, and where it might have gone."""
    weights: list[Float[Tensor, "2 K C"]] = field(default_factory=list[Tensor])
    """Probability of staying and of going."""

    @property
    def n_chains(self) -> int:
        """Chains, each with a state on every rung."""
        return len(self.hits)

    def figures(self, level: float) -> Figures:
        """The pooled estimate. Interval: Student's, from chains drawn again with replacement."""
        n_hits = round(sum(sum(seen.values()) for seen in self.hits))
        mass_C, rest_C = self._known_and_new()
        pool, count_CU = self._pool()
        beta_K = self.beta_K.numpy()
        f_K = free_energies(pool, beta_K)
        log_hit = log_weight(pool, beta_K, f_K, score=0.0)
        p = float(mass_C.mean()) + math.exp(log_hit) * float(rest_C.sum())
        flags: tuple[Flag, ...] = () if self._r_hat() <= APART else ("not_mixed",)
        if p == 0:
            return Figures(
                log_p=-math.inf, log_low=-math.inf, log_high=self._upper(f_K, level), flags=(*flags, "no_hits")
            )
        half = self._half_width(p, pool, count_CU, f_K, level)
        high = math.log(p) + half
        if not rest_C.any():  # all that was seen is known exactly; what was not may still be there
            high = float(np.logaddexp(math.log(p), self._upper(f_K, level)))
        return Figures(
            log_p=math.log(p), log_low=math.log(p) - half, log_high=min(high, 0.0), n_hits=n_hits, flags=flags
        )

    def _known_and_new(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each chain the exact probability of what all others saw, and its own weight of what none of them did."""
        if not self.exact:
            return np.zeros(self.n_chains), np.array([math.fsum(seen.values()) for seen in self.hits])
        owners: dict[bytes, int] = {}
        for seen in self.hits:
            for key in seen:
                owners[key] = owners.get(key, 0) + 1
        total = math.fsum(math.exp(self.log_p[key]) for key in self.known | owners.keys())
        mass, rest = [], []
        for seen in self.hits:
            own = [key for key in seen if owners[key] == 1 and key not in self.known]
            mass.append(total - math.fsum(math.exp(self.log_p[key]) for key in own))
            rest.append(math.fsum(seen[key] for key in own))
        return np.maximum(np.array(mass), 0.0), np.array(rest)

    def _pool(self) -> tuple[Pool, NDArray[np.float64]]:
        """All samples by cell of scores, and each chain's part of the counts."""
        energy_T2KC, weight_T2KC = torch.stack(self.energies), torch.stack(self.weights)
        score_U, place = cells(energy_T2KC)
        chain = torch.arange(self.n_chains).expand_as(place)
        count_CU = torch.zeros(self.n_chains, len(score_U), dtype=torch.float64)
        count_CU.view(-1).index_add_(0, (chain * len(score_U) + place).reshape(-1), weight_T2KC.reshape(-1))
        n_K = np.full(len(self.beta_K), float(len(self.energies) * self.n_chains))
        return Pool(score_U.numpy(), count_CU.sum(0).numpy(), n_K), count_CU.numpy()

    def _half_width(
        self, p: float, pool: Pool, count_CU: NDArray[np.float64], f_K: NDArray[np.float64], level: float
    ) -> float:
        """Half of the interval, in natural logarithms."""
        from scipy.stats import t

        mass_C, rest_C = self._known_and_new()
        n, beta_K = self.n_chains, self.beta_K.numpy()
        generator = np.random.default_rng(0)
        estimates: list[float] = []
        for times_C in generator.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES):
            drawn = Pool(pool.score_U, times_C @ count_CU, pool.n_K)
            log_hit = log_weight(drawn, beta_K, free_energies(drawn, beta_K, start_K=f_K), score=0.0)
            estimates.append(float(times_C @ mass_C) / n + math.exp(log_hit) * float(times_C @ rest_C))
        spread = float(np.std(estimates, ddof=1)) * math.sqrt(n / (n - 1))
        return float(t.ppf((1 + level) / 2, n - 1)) * spread / p

    def _r_hat(self) -> float:
        """How much chains differ in their share of hits on the coldest rung, beside how each varies (Gelman and Rubin)."""
        hit_TC = torch.stack([energies[0, -1] >= 0 for energies in self.energies]).double()
        n = len(hit_TC)
        within = float(hit_TC.var(0).mean()) if n > 1 else 0.0
        between = float(hit_TC.mean(0).var())
        if within == 0:
            return 1.0 if between == 0 else math.inf
        return math.sqrt((n - 1) / n + between / within)

    def _upper(self, f_K: NDArray[np.float64], level: float) -> float:
        """Without new hits: what independent rows of the coldest rung, as many as there are chains, cannot exclude."""
        share = 1 - (1 - level) ** (1 / self.n_chains)
        return min(0.0, math.log(share) - float(f_K[-1]))


def cells(energy_X: Float[Tensor, "*X"]) -> tuple[Float[Tensor, " U"], Int[Tensor, "*X"]]:
    """Scores of at most 1,000 cells that hold as many distinct scores each, and the cell of each sample.

    Hits, whose energy is 0, have a cell of their own: the last one, which may be empty.
    """
    distinct_M, place_X = energy_X.unique(return_inverse=True)
    n_below = int((distinct_M < 0).sum())
    n_cells = min(MOST_CELLS, n_below)
    cell_M = torch.arange(len(distinct_M)) * n_cells // max(n_below, 1)
    sums_U = torch.zeros(n_cells + 1, dtype=torch.float64).index_add_(0, cell_M, distinct_M)
    return sums_U / cell_M.bincount(minlength=n_cells + 1).clamp(min=1), cell_M[place_X]
