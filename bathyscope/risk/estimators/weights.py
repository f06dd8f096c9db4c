"""`Weights`: what rounds of weighed rows say of a probability, each round beside what was known before it.

Before a round the rows seen so far contribute exactly `mass`, the sum of P(x) · P(event | x). The round is asked for
the rest only: its estimate is `mass` plus the mean weight of its hits that were not seen before. Whatever the earlier
rounds were, its expectation is the probability (a martingale): the mean over rounds is unbiased when their number was
fixed.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.tails import clopper_pearson, log_mean_interval, weighed

HEAVY_K = 0.7
"""Shape of the weights' tail above which their mean converges too slowly to be used (Vehtari et al. 2024)."""
BATCHES = 20
"""Rounds are pooled into so many for the interval."""


@dataclass(slots=True)
class Weights:
    """Rounds of rows drawn in place of the law's own."""

    defensive: float
    """Share of each round that came from the law."""
    log_rounds: list[float] = field(default_factory=list[float])
    """Logarithm of each round's estimate."""
    masses: list[float] = field(default_factory=list[float])
    """What was known before each round."""
    log_new: list[Float[Tensor, " M"]] = field(default_factory=list[Tensor])
    """For each round the logarithms of weight · P(event | x), of the rows that count."""
    n: int = 0
    """Rows in all."""
    n_hits: int = 0
    """Rows that show the event, those seen before included."""

    def add(
        self,
        log_w_N: Float[Tensor, " N"],
        value_N: Float[Tensor, " N"],
        is_new_N: Bool[Tensor, " N"],
        *,
        mass: float,
    ) -> None:
        """One round: weights, P(event | x), which rows were new to it, and what those seen before contribute."""
        counts_N = is_new_N & (value_N > 0)
        log_new_M = log_w_N[counts_N] + value_N[counts_N].log()
        log_rest = float(log_new_M.logsumexp(0)) - math.log(len(log_w_N)) if len(log_new_M) else -math.inf
        self.log_rounds.append(float(np.logaddexp(log_rest, math.log(mass) if mass > 0 else -math.inf)))
        self.masses.append(mass)
        self.log_new.append(log_new_M)
        self.n += len(log_w_N)
        self.n_hits += int((value_N > 0).sum())

    def figures(self, level: float) -> Figures:
        """Mean over the rounds; the interval is the wider of rows taken as independent and of pooled rounds."""
        if not self.log_rounds:
            return Figures(log_p=-math.inf, log_low=-math.inf, log_high=0.0, flags=("no_hits",))
        log_new_M = torch.cat(self.log_new).numpy()
        mass = math.fsum(self.masses) / len(self.masses)
        if not len(log_new_M):
            return self._nothing_new(mass, level=level)
        rest = weighed(log_new_M, self.n, level=level)
        log_round_R = np.array(self.log_rounds)
        log_p = float(np.logaddexp.reduce(log_round_R)) - math.log(len(log_round_R))
        low, high = _beside(mass, rest.log_low), _beside(mass, rest.log_high)
        if len(log_round_R) >= BATCHES:
            pooled = np.array([np.logaddexp.reduce(part) for part in np.array_split(log_round_R, BATCHES)])
            sizes = np.array([len(part) for part in np.array_split(log_round_R, BATCHES)])
            of_rounds = log_mean_interval(pooled - np.log(sizes), level=level)
            low, high = min(low, of_rounds[0]), max(high, of_rounds[1])
        matters = mass < 9 * math.exp(rest.log_mean)  # a tail of a tenth of the estimate cannot spoil it
        is_heavy = matters and (_few_carry_half(log_new_M) or (rest.pareto_k or 0.0) > HEAVY_K)
        flags: tuple[Flag, ...] = ("heavy_tail",) if is_heavy else ()
        return Figures(
            log_p=log_p,
            log_low=low,
            log_high=min(high, 0.0),
            n_hits=self.n_hits,
            ess=rest.ess,
            max_weight_share=rest.max_share,
            pareto_k=rest.pareto_k,
            flags=flags,
        )

    def _nothing_new(self, mass: float, *, level: float) -> Figures:
        """No row beyond those known: their exact mass, and what the law's own share of the rows cannot exclude."""
        high = mass + clopper_pearson(0, math.floor(self.defensive * self.n), level=level)[1]
        log_mass = math.log(mass) if mass > 0 else -math.inf
        flags: tuple[Flag, ...] = () if mass > 0 else ("no_hits",)
        return Figures(
            log_p=log_mass, log_low=log_mass, log_high=min(math.log(high), 0.0), n_hits=self.n_hits, flags=flags
        )


def _beside(mass: float, log_rest: float) -> float:
    """Logarithm of the mass and the rest together."""
    return float(np.logaddexp(math.log(mass) if mass > 0 else -math.inf, log_rest))


def _few_carry_half(log_w_M: Float[np.ndarray, " M"]) -> bool:
    """Whether at least half of the sum comes from less than a hundredth of the weights, or from a single one."""
    share_M = np.sort(np.exp(log_w_M - log_w_M.max()))[::-1]
    return bool(share_M[: max(1, len(share_M) // 100)].sum() >= share_M.sum() / 2)
