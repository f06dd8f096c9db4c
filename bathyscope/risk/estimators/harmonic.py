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
        top = float(log_w_TC.max())
        all_C = (log_w_TC - top).exp().sum(0).numpy()
        hits_C = ((log_w_TC - top).exp() * (score_TC >= 0)).sum(0).numpy()
        log_p = math.log(hits_C.sum() / all_C.sum())
        half = spread_interval(_resampled(hits_C, all_C), hits_C.sum() / all_C.sum(), n=len(all_C), level=level)
        n_hits = int((score_TC >= 0).sum())
        return Figures(log_p=log_p, log_low=log_p - half, log_high=min(log_p + half, 0.0), n_hits=n_hits, flags=flags)


def _resampled(hits_C: NDArray[np.float64], all_C: NDArray[np.float64]) -> list[float]:
    """The estimate from chains drawn again, once for each draw."""
    return [float(times_C @ hits_C) / float(times_C @ all_C) for times_C in chain_draws(len(all_C))]
