"""`Annealing`: particles led from the law towards the event; finds a ladder's temperatures and where chains begin.

Each step sharpens p(x) exp(β min(s(x), 0)) as far as the particles bear, draws them again by their weights and moves
them (tempered sequential Monte Carlo, Del Moral et al. 2006).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.risk.estimators.moves import Mover, energy
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.look import Look

MOST_RUNGS = 30
SHARPEST = 1e6
"""Inverse temperature beyond which no particle is left that is not at the best score."""


class Annealing:
    """One population, rung after rung."""

    def __init__(self, look: Look, *, n_particles: int, ess_share: float, generator: torch.Generator) -> None:
        self._ess_share, self._generator = ess_share, generator
        rows_NC = draw(look.problem.inputs, n_particles, generator=generator)
        self.beta: list[float] = [0.0]
        """Inverse temperatures so far."""
        self.log_z: list[float] = [0.0]
        """Logarithms of E[exp(β min(s, 0))] under the law, to first sight."""
        self.accepted: list[float] = [1.0]
        """Share of the moves that were accepted."""
        self.rows: list[Int[Tensor, "N C"]] = [rows_NC]
        """For each of them the particles."""
        self.scores: list[Float[Tensor, " N"]] = [look.at(rows_NC).score_N]
        """Their scores."""

    def hit_share(self) -> float:
        """Share of hits at the coldest rung."""
        return float((self.scores[-1] >= 0).double().mean())

    def n_mixing(self, least_accepted: float) -> int:
        """Rungs before the first on which less of the moves is accepted: behind it particles stay where they are.

        At least two, when there are as many.
        """
        refused = [rung for rung, share in enumerate(self.accepted) if share < least_accepted]
        return min(max(2, *refused[:1]), len(self.beta)) if refused else len(self.beta)

    def step(self, mover: Mover, *, n_moves: int) -> bool:
        """One more rung; False when there is none."""
        energy_N = energy(self.scores[-1])
        gain = sharpening(energy_N, ess_share=self._ess_share)
        beta = self.beta[-1] + gain
        if beta > SHARPEST or len(self.beta) == MOST_RUNGS:
            return False
        share_N = (gain * energy_N).softmax(0)
        chosen_N = torch.multinomial(share_N, len(share_N), True, generator=self._generator)
        rows_NC, score_N = self.rows[-1][chosen_N], self.scores[-1][chosen_N]
        beta_N, accepted = torch.full_like(score_N, beta), 0.0
        for _ in range(n_moves):
            move = mover.move(rows_NC, score_N, beta_N, self._generator)
            accepted += float(move.log_accept_N.exp().mean()) / n_moves
            goes_N = torch.rand(len(rows_NC), generator=self._generator, dtype=torch.float64).log() < move.log_accept_N
            rows_NC = torch.where(goes_N[:, None], move.rows_NC, rows_NC)
            score_N = torch.where(goes_N, move.score_N, score_N)
        self.accepted.append(accepted)
        self.log_z.append(self.log_z[-1] + float((gain * energy_N).logsumexp(0)) - math.log(len(energy_N)))
        self.beta.append(beta)
        self.rows.append(rows_NC)
        self.scores.append(score_N)
        return True


def sharpening(energy_N: Float[Tensor, " N"], *, ess_share: float) -> float:
    """How much more β leaves this share of the particles' effective number; infinity when any does."""
    low, high = 0.0, 1.0
    while ess_of(energy_N * high) > ess_share:
        low, high = high, 2 * high
        if high > SHARPEST:
            return math.inf
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if ess_of(energy_N * middle) > ess_share else (low, middle)
    return high


def ess_of(log_w_N: Float[Tensor, " N"]) -> float:
    """(Σw)² / Σw² over the number of weights."""
    return math.exp(float(2 * log_w_N.logsumexp(0) - (2 * log_w_N).logsumexp(0))) / len(log_w_N)
