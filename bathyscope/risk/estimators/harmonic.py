"""`Harmonic`: the released form of MHIS, kept as the reference that a ladder has to beat.

    q(x) ∝ D(x) exp(s(x) / T),   p = Σ 1[hit] e^(-s/T) / Σ e^(-s/T)
(Wu and Hilton, arXiv 2410.13211.) One temperature, moves by slopes, a harmonic mean as the normaliser: heavy tails, and
too low wherever chains never visit low scores. Here in logarithms, with burn-in counted, on the event's score.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.risk.budget import BudgetSpent
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.chains import APART, chain_draws, r_hat, spread_interval
from bathyscope.risk.estimators.moves import Informed, as_it_is
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.look import Look

if TYPE_CHECKING:
    from bathyscope.risk.estimators.metropolis import MHIS


MOST = 50.0
"""Natural logarithm of the largest share of the estimate that a draw of chains counts for."""


class Harmonic:
    """A run: burn-in, then steps of all chains until the budget is spent."""

    def __init__(self, settings: "MHIS", look: Look, generator: torch.Generator) -> None:
        self._look, self._generator = look, generator
        self._beta = 1 / settings.temperature
        self._mover = Informed(look, pull=1.0, energy=as_it_is)
        self._burnt = int(settings.burn_in * look.room())
        self._most_looks = settings.patience * look.room()
        self._rows_CS = draw(look.problem.inputs, settings.n_chains, generator=generator)
        self._score_C: Float[Tensor, " C"] | None = None
        self._scores: list[Float[Tensor, " C"]] = []

    def step(self) -> bool:
        """One move of every chain."""
        looks = self._look.ledger.spent + self._look.ledger.remembered
        if looks > self._most_looks:
            return False
        try:
            score_C = self._look.at(self._rows_CS).score_N if self._score_C is None else self._score_C
            beta_C = torch.full_like(score_C, self._beta)
            move = self._mover.move(self._rows_CS, score_C, beta_C, self._generator)
        except BudgetSpent:  # what a step costs is known only afterwards: this is how the plan ends
            return False
        goes_C = torch.rand(len(score_C), generator=self._generator, dtype=torch.float64).log() < move.log_accept_N
        self._rows_CS = torch.where(goes_C[:, None], move.rows_NC, self._rows_CS)
        self._score_C = torch.where(goes_C, move.score_N, score_C)
        if looks >= self._burnt:
            self._scores.append(self._score_C)
        return True

    def figures(self, level: float) -> Figures:
        """The ratio of sums; interval from chains drawn again with replacement."""
        if not self._scores:
            return Figures(log_p=-math.inf, log_low=-math.inf, log_high=0.0, flags=("no_hits",))
        score_TC = torch.stack(self._scores)
        flags: tuple[Flag, ...] = () if r_hat(score_TC >= 0) <= APART else ("not_mixed",)
        if not bool((score_TC >= 0).any()):
            return Figures(log_p=-math.inf, log_low=-math.inf, log_high=0.0, flags=(*flags, "no_hits"))
        log_w_TC = -self._beta * score_TC
        log_all_C = log_w_TC.logsumexp(0).numpy()
        log_hits_C = log_w_TC.masked_fill(score_TC < 0, -math.inf).logsumexp(0).numpy()
        log_p = _log_ratio(log_hits_C, log_all_C, np.ones(len(log_all_C)))
        relative = [_log_ratio(log_hits_C, log_all_C, times_C) - log_p for times_C in chain_draws(len(log_all_C))]
        shares = [math.exp(min(log_share, MOST)) for log_share in relative]
        half = spread_interval(shares, 1.0, n=len(log_all_C), level=level)
        n_hits = int((score_TC >= 0).sum())
        return Figures(log_p=log_p, log_low=log_p - half, log_high=min(log_p + half, 0.0), n_hits=n_hits, flags=flags)


def _log_ratio(
    log_hits_C: NDArray[np.float64], log_all_C: NDArray[np.float64], times_C: NDArray[np.float64] | NDArray[np.int64]
) -> float:
    """Logarithm of the ratio of sums when each chain is taken so often; minus infinity when none of them hits."""
    taken_C = times_C > 0
    log_times_C = np.log(times_C[taken_C])
    log_hits = np.logaddexp.reduce(log_times_C + log_hits_C[taken_C])
    return float(log_hits - np.logaddexp.reduce(log_times_C + log_all_C[taken_C]))
