"""`Sweeps`: what the chains of a ladder saw, and the probability that follows from it.

Samples of the rungs that mix are pooled by MBAR. Each move counts where it was and where it might have gone, by the
probability of going (waste recycling, Frenkel 2004). An input that shows the event and that another chain, or the
pilot, saw too counts with its exact probability; the others are weighed: for each chain, what the rest saw is known,
and only what they did not see is estimated.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.chains import APART, chain_draws, r_hat, spread_interval
from bathyscope.risk.mbar import Pool, free_energies, log_mix
from bathyscope.risk.tails import clopper_pearson

CHANGES = 10
"""Times that each choice is to be changed before chains are taken to be independent."""
MOST_CELLS = 500
"""Scores are pooled in so many cells at most, hits in one of their own."""


@dataclass(slots=True)
class Sweeps:
    """What happened: one entry per sweep."""

    beta_K: Float[Tensor, " K"]
    """Inverse temperatures of the rungs, from 0."""
    log_z_K: Float[Tensor, " K"]
    """Logarithms of their normalisers as the pilot saw them: where the search for better ones starts."""
    n_mixing: int
    """Rungs, from the law itself, on which moves are accepted. Colder ones are fed from them and only find inputs."""
    known: frozenset[bytes]
    """Inputs that the pilot saw to show the event."""
    exact: bool
    """Whether inputs that several chains saw count with their exact probability."""
    n_choices: int
    """Choices of an input that are free."""
    log_p: dict[bytes, float]
    """Input that shows the event → logarithm of its probability."""
    hits: tuple[dict[bytes, list[float]], ...]
    """For each chain: input that shows the event → how often it was there, by the weights, on each rung."""
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
        n_rungs = self.n_pooled()
        pool, count_CU = self._pool(n_rungs)
        mass_C, rest_C = self._known_and_new(n_rungs)
        f_K = free_energies(pool, start_K=-self.log_z_K[:n_rungs].numpy())
        p = float(mass_C.mean()) + hit_weight(pool, f_K) * float(rest_C.sum())
        hit_TC = torch.stack([energies[0, n_rungs - 1] >= 0 for energies in self.energies])
        is_mixed = n_rungs <= self.n_mixing and r_hat(hit_TC) <= APART and self._has_forgotten(n_rungs)
        flags: tuple[Flag, ...] = () if is_mixed else ("not_mixed",)
        if p == 0:
            return Figures(log_p=-math.inf, log_low=-math.inf, log_high=self._nothing(level), flags=(*flags, "no_hits"))
        estimates = self._resampled(pool, count_CU, f_K, mass_C, rest_C)
        half = spread_interval(estimates, p, n=self.n_chains, level=level)
        high = float(np.logaddexp(math.log(p) + half, self._unseen(float(f_K[-1]), level)))
        return Figures(
            log_p=math.log(p),
            log_low=math.log(p) - half,
            log_high=min(high, 0.0),
            n_hits=round(self._hits(len(self.beta_K))),
            flags=flags,
        )

    def _has_forgotten(self, n_rungs: int) -> bool:
        """Whether most chains changed each choice ten times on the coldest of these rungs: they begin as kin."""
        gone_C = torch.stack([weights[1, n_rungs - 1] for weights in self.weights]).sum(0)
        return float(gone_C.median()) >= CHANGES * self.n_choices

    def n_pooled(self) -> int:
        """Rungs that are pooled: those that mix, and colder ones until there is a hit among them."""
        enough = [n for n in range(self.n_mixing, len(self.beta_K)) if self._hits(n) > 0]
        return enough[0] if enough else len(self.beta_K)

    def _hits(self, n_rungs: int) -> float:
        """Hits on the first rungs, by the weights."""
        return math.fsum(math.fsum(times_K[:n_rungs]) for seen in self.hits for times_K in seen.values())

    def _known_and_new(self, n_rungs: int) -> tuple[Float[NDArray[np.float64], " C"], Float[NDArray[np.float64], " C"]]:
        """For each chain the exact probability of what all others saw, and its own weight of what none of them did."""
        if not self.exact:
            own_C = [math.fsum(math.fsum(times_K[:n_rungs]) for times_K in seen.values()) for seen in self.hits]
            return np.zeros(self.n_chains), np.array(own_C)
        owners = Counter(key for seen in self.hits for key in seen)
        total = math.fsum(math.exp(self.log_p[key]) for key in self.known | owners.keys())
        mass_C, rest_C = list[float](), list[float]()
        for seen in self.hits:
            own = [key for key in seen if owners[key] == 1 and key not in self.known]
            mass_C.append(max(total - math.fsum(math.exp(self.log_p[key]) for key in own), 0.0))
            rest_C.append(math.fsum(math.fsum(seen[key][:n_rungs]) for key in own))
        return np.array(mass_C), np.array(rest_C)

    def _pool(self, n_rungs: int) -> tuple[Pool, Float[NDArray[np.float64], "C U"]]:
        """All samples of the first rungs by cell of scores, and each chain's part of the counts."""
        energy_T2KC = torch.stack(self.energies)[:, :, :n_rungs]
        weight_T2KC = torch.stack(self.weights)[:, :, :n_rungs]
        score_U, place = cells(energy_T2KC)
        chain = torch.arange(self.n_chains).expand_as(place)
        count_CU = torch.zeros(self.n_chains, len(score_U), dtype=torch.float64)
        count_CU.view(-1).index_add_(0, (chain * len(score_U) + place).reshape(-1), weight_T2KC.reshape(-1))
        n_K = np.full(n_rungs, float(len(self.energies) * self.n_chains))
        energy_UK = -(score_U[:, None] * self.beta_K[:n_rungs]).numpy()
        return Pool(energy_UK, count_CU.sum(0).numpy(), n_K), count_CU.numpy()

    def _resampled(
        self, pool: Pool, count_CU: np.ndarray, f_K: np.ndarray, mass_C: np.ndarray, rest_C: np.ndarray
    ) -> list[float]:
        """The estimate from chains drawn again, once for each draw."""
        estimates = list[float]()
        for times_C in chain_draws(self.n_chains):
            drawn = Pool(pool.energy_UK, times_C @ count_CU, pool.n_K)
            weight = hit_weight(drawn, free_energies(drawn, start_K=f_K))
            estimates.append(float(times_C @ mass_C) / self.n_chains + weight * float(times_C @ rest_C))
        return estimates

    def _unseen(self, f: float, level: float) -> float:
        """What may be there and no chain saw: a share of the coldest rung that as many independent rows would miss."""
        return min(0.0, math.log(clopper_pearson(0, self.n_chains, level=level)[1]) - f)

    def _nothing(self, level: float) -> float:
        """Without hits: what the rows of the law itself cannot exclude."""
        return math.log(clopper_pearson(0, len(self.energies) * self.n_chains, level=level)[1])


def hit_weight(pool: Pool, f_K: Float[NDArray[np.float64], " K"]) -> float:
    """What one hit adds to an estimate of a probability under the law itself; its energy is 0 on every rung."""
    return math.exp(-float(log_mix(np.zeros(len(f_K)), pool.n_K, f_K)))


def cells(energy_X: Float[Tensor, "*X"]) -> tuple[Float[Tensor, " U"], Int[Tensor, "*X"]]:
    """Scores of at most 500 cells that hold as many distinct scores each, and the cell of each sample.

    Hits, whose energy is 0, have a cell of their own: the last one, which may be empty.
    """
    distinct_M, place_X = energy_X.unique(return_inverse=True)
    n_below = int((distinct_M < 0).sum())
    n_cells = min(MOST_CELLS, n_below)
    cell_M = torch.arange(len(distinct_M)) * n_cells // max(n_below, 1)
    sums_U = torch.zeros(n_cells + 1, dtype=torch.float64).index_add_(0, cell_M, distinct_M)
    return sums_U / cell_M.bincount(minlength=n_cells + 1).clamp(min=1), cell_M[place_X]
