"""Moves of Metropolis chains by one choice, with the logarithm of their acceptance, for p(x) exp(β min(s(x), 0)).

Blind moves know the law alone. Informed ones also know the slope of the score in every option of the position, halved
so that the way there and the way back are alike (Zanella 2020, locally balanced proposals).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.risk.inputs.law import draw_again, free_choices
from bathyscope.risk.look import Look
from bathyscope.risk.projection import Projection


class Move(NamedTuple):
    """Where each chain may go next."""

    rows_NC: Int[Tensor, "N C"]
    """Proposed rows."""
    score_N: Float[Tensor, " N"]
    """Their scores."""
    log_accept_N: Float[Tensor, " N"]
    """Logarithm of the probability of going there, at most 0."""


Energy = Callable[[Tensor], Tensor]
"""What of a score chains are drawn by."""


def energy(score_N: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """min(s, 0): all hits are equally likely, so that nothing is drawn beyond the event's border."""
    return score_N.clamp(max=0.0)


def as_it_is(score_N: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The score itself: drawn beyond the event's border too."""
    return score_N


@runtime_checkable
class Mover(Protocol):
    """A way to propose."""

    def move(
        self,
        rows_NC: Int[Tensor, "N C"],
        score_N: Float[Tensor, " N"],
        beta_N: Float[Tensor, " N"],
        generator: torch.Generator,
    ) -> Move:
        """Proposed rows, scores and acceptance."""
        ...


class Blind:
    """Redraws one free choice, or two neighbouring ones, from a mixture of their law and all options alike."""

    def __init__(self, look: Look, *, uniform: float, pairs: float) -> None:
        self._look, self._free_M, self._pairs = look, free_choices(look.problem.inputs), pairs
        log_p = look.problem.inputs.log_p
        self._log_g = tuple(((1 - uniform) * log.exp() + uniform / len(log)).log() for log in log_p)

    def move(
        self,
        rows_NC: Int[Tensor, "N C"],
        score_N: Float[Tensor, " N"],
        beta_N: Float[Tensor, " N"],
        generator: torch.Generator,
    ) -> Move:
        """Proposed rows, scores and acceptance; the proposals are looked at."""
        n, n_choices = rows_NC.shape
        place_N = torch.randint(len(self._free_M), (n,), generator=generator)
        is_pair_N = torch.rand(n, generator=generator, dtype=torch.float64) < self._pairs
        next_N = (place_N + 1) % len(self._free_M)
        one_NC, other_NC = (torch.arange(n_choices) == self._free_M[at_N, None] for at_N in (place_N, next_N))
        new_NC = draw_again(self._log_g, rows_NC, one_NC, generator=generator)
        new_NC = draw_again(self._log_g, new_NC, other_NC & is_pair_N[:, None], generator=generator)
        new_N = self._look.at(new_NC).score_N
        gain_N = beta_N * (energy(new_N) - energy(score_N)) + self._log_ratio(new_NC) - self._log_ratio(rows_NC)
        return Move(new_NC, new_N, gain_N.clamp(max=0.0))

    def _log_ratio(self, rows_NC: Int[Tensor, "N C"]) -> Float[Tensor, " N"]:
        """log p(x) - log g(x), of which only the changed choice differs between two rows."""
        total_N = torch.zeros(len(rows_NC), dtype=torch.float64)
        for log_p, log_g, chosen_N in zip(self._look.problem.inputs.log_p, self._log_g, rows_NC.unbind(1), strict=True):
            total_N += (log_p - log_g)[chosen_N]
        return total_N


class Informed:
    """Redraws one free choice v with a chance ∝ p(v) exp(pull · β · slope of the score in v)."""

    def __init__(self, look: Look, *, pull: float = 0.5, energy: Energy = energy) -> None:
        self._look, self._law = look, look.problem.inputs
        self._pull, self._energy = pull, energy
        self._free_M, self._projection = free_choices(self._law), Projection(look.problem)

    def move(
        self,
        rows_NC: Int[Tensor, "N C"],
        score_N: Float[Tensor, " N"],
        beta_N: Float[Tensor, " N"],
        generator: torch.Generator,
    ) -> Move:
        """Proposed rows, scores and acceptance; the slopes of rows and proposals are looked at."""
        slopes_NSD = self._look.slopes(rows_NC).slope_NSD
        new_NC, log_there_N = rows_NC.clone(), torch.zeros(len(rows_NC), dtype=torch.float64)
        picks = grouped(self._free_M[torch.randint(len(self._free_M), (len(rows_NC),), generator=generator)])
        for column, here_M in picks:
            log_q_MK = self._log_q(column, slopes_NSD[here_M], beta_N[here_M])
            chosen_M = torch.multinomial(log_q_MK.exp(), 1, generator=generator)[:, 0]
            new_NC[here_M, column] = chosen_M
            log_there_N[here_M] = log_q_MK.gather(1, chosen_M[:, None])[:, 0] - self._law.log_p[column][chosen_M]
        new = self._look.slopes(new_NC)
        gain_N = beta_N * (self._energy(new.score_N) - self._energy(score_N)) - log_there_N
        for column, here_M in picks:
            old_M = rows_NC[here_M, column]
            log_q_MK = self._log_q(column, new.slope_NSD[here_M], beta_N[here_M])
            gain_N[here_M] += log_q_MK.gather(1, old_M[:, None])[:, 0] - self._law.log_p[column][old_M]
        return Move(new_NC, new.score_N, gain_N.clamp(max=0.0))

    def _log_q(
        self, column: int, slope_MSD: Float[Tensor, "M S D"], beta_M: Float[Tensor, " M"]
    ) -> Float[Tensor, "M K"]:
        slope_MK = self._projection.at(column, slope_MSD[:, column])
        return (self._law.log_p[column] + self._pull * beta_M[:, None] * slope_MK).log_softmax(1)


def grouped(column_N: Int[Tensor, " N"]) -> list[tuple[int, Int[Tensor, " _"]]]:
    """Each column that occurs, and where."""
    return [(column, (column_N == column).nonzero()[:, 0]) for column in column_N.unique().tolist()]


def swapped(
    beta_K: Float[Tensor, " K"], energy_KC: Float[Tensor, "K C"], first: int, border: int, generator: torch.Generator
) -> Int[Tensor, "K C"]:
    """For each rung and chain the rung whose state it takes: neighbours first, first + 1; first + 2, … swap or stay.

    log acceptance = (β_r - β_{r+1}) (s_{r+1} - s_r)
    The rung before `border` gives a copy and keeps its own state: nothing comes back from the rungs behind.
    """
    n_rungs, n_chains = energy_KC.shape
    source_KC = torch.arange(n_rungs)[:, None].repeat(1, n_chains)
    for rung in range(first, n_rungs - 1, 2):
        log_accept_C = (beta_K[rung] - beta_K[rung + 1]) * (energy_KC[rung + 1] - energy_KC[rung])
        swaps_C = torch.rand(n_chains, generator=generator, dtype=torch.float64).log() < log_accept_C
        source_KC[rung + 1, swaps_C] = rung
        if rung + 1 != border:
            source_KC[rung, swaps_C] = rung + 1
    return source_KC
