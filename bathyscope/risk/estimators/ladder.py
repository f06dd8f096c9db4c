"""`Ladder`: chains that each have one state on every rung of temperatures, and that swap states between rungs.

Rung k is drawn from p(x) exp(β_k min(s(x), 0)); rung 0 is the law itself, drawn afresh. Rungs come from a pilot
(`annealing.py`); what the chains saw becomes an estimate in `sweeps.py`.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.risk.budget import BudgetSpent
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.annealing import Annealing
from bathyscope.risk.estimators.ascent import Ascents
from bathyscope.risk.estimators.moves import Blind, Informed, Move, energy, swapped
from bathyscope.risk.estimators.sweeps import Sweeps
from bathyscope.risk.inputs.law import draw, free_choices, log_prob
from bathyscope.risk.look import Look, keys_of

if TYPE_CHECKING:
    from bathyscope.risk.estimators.metropolis import MHIS

LAST_RESORT = 0.25
"""Share of the budget that is kept for sweeps when ascents go on because nothing was found."""


class Ladder:
    """A run: ascents, the pilot, then sweeps until the budget is spent."""

    def __init__(self, settings: "MHIS", look: Look, generator: torch.Generator) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._blind = Blind(look, uniform=settings.uniform, pairs=settings.pairs)
        self._informed = Informed(look) if settings.gradients else None
        self._room = look.room()
        self._ascents = Ascents(look, generator, forward=settings.ascent_share * self._room)
        self._ascents_end = (1 - settings.ascent_share * settings.exact) * self._room
        self._pilot_end = (1 - settings.pilot_share) * self._ascents_end
        self._most_looks = settings.patience * look.room()
        self._pilot: Annealing | None = None
        self._is_led = False  # whether the pilot is over
        self._sweeps: Sweeps | None = None

    def step(self) -> bool:
        """One round of ascents, one rung of the pilot, or one sweep."""
        if self._ascends():
            self._ascents.step()
            return True
        if self._sweeps is None:
            self._anneal()
            return True
        ledger = self._look.ledger
        if ledger.spent + ledger.remembered > self._most_looks:
            return False
        try:
            self._sweep(self._sweeps)
        except BudgetSpent:  # what a sweep costs is known only afterwards: this is how the plan ends
            return False
        return True

    def figures(self, level: float) -> Figures:
        """What the sweeps so far say; before the first, what the pilot saw."""
        if self._sweeps is None or not self._sweeps.energies:
            log_mass = self._look.log_mass
            flags: tuple[Flag, ...] = ("probably_low",) if log_mass > -math.inf else ("no_hits",)
            return Figures(log_p=log_mass, log_low=log_mass, log_high=0.0, flags=flags)
        figures = self._sweeps.figures(level)
        if self._settings.exact:  # rows that were seen but never counted are certain all the same
            figures = replace(figures, log_p=max(figures.log_p, self._look.log_mass))
        return figures

    def _ascends(self) -> bool:
        """Whether ascents come next: before the pilot, and behind it for as long as nothing was found at all."""
        if self._pilot is None:
            return self._ascents.n_payable > 0 and self._ascents.goes_on(until=self._ascents_end)
        lost = self._is_led and self._sweeps is None and self._look.log_mass == -math.inf
        return lost and self._settings.exact and self._ascents.goes_on(until=LAST_RESORT * self._room)

    def _anneal(self) -> None:
        """The next rung of the pilot; behind the last one, where the chains begin."""
        settings = self._settings
        if self._pilot is None:
            self._pilot = Annealing(
                self._look, n_particles=settings.n_particles, ess_share=settings.ess_share, generator=self._generator
            )
        elif self._is_led:
            self._begin(self._pilot)
        else:
            cold = self._pilot.hit_share() >= settings.hit_share or self._look.room() <= self._pilot_end
            self._is_led = cold or not self._pilot.step(self._blind, n_moves=settings.n_pilot_moves)

    def _begin(self, pilot: Annealing) -> None:
        n, chains = self._settings.n_particles, self._settings.n_chains
        starts = [torch.randint(n, (chains,), generator=self._generator) for _ in pilot.beta]
        self._rows_KCS = torch.stack([rows_NC[chosen] for rows_NC, chosen in zip(pilot.rows, starts, strict=True)])
        self._score_KC = torch.stack([score_N[chosen] for score_N, chosen in zip(pilot.scores, starts, strict=True)])
        seen = self._look.memory
        rows_NC, of_pilot = seen.known()
        hits_MC = rows_NC[of_pilot.value_N > 0.5]
        keys = keys_of(hits_MC)
        self._sweeps = Sweeps(
            beta_K=torch.tensor(pilot.beta, dtype=torch.float64),
            log_z_K=torch.tensor(pilot.log_z, dtype=torch.float64),
            n_mixing=pilot.n_mixing(self._settings.least_accepted),
            known=frozenset(keys),
            exact=self._settings.exact,
            n_choices=len(free_choices(self._look.problem.inputs)),
            log_p=dict(zip(keys, log_prob(self._look.problem.inputs, hits_MC).tolist(), strict=True)),
            hits=tuple({} for _ in range(chains)),
        )

    def _sweep(self, sweeps: Sweeps) -> None:
        """Every state moves once, then neighbours swap."""
        before_KC, move = energy(self._score_KC), self._move(sweeps.beta_K)
        accept_KC = move.log_accept_N.exp().view_as(before_KC)
        new_KC, new_KCS = move.score_N.view_as(before_KC), move.rows_NC.view_as(self._rows_KCS)
        sweeps.energies.append(torch.stack((before_KC, energy(new_KC))))
        sweeps.weights.append(torch.stack((1 - accept_KC, accept_KC)))
        self._note(sweeps, self._rows_KCS, self._score_KC, 1 - accept_KC)
        self._note(sweeps, new_KCS, new_KC, accept_KC)
        goes_KC = torch.rand(accept_KC.shape, generator=self._generator, dtype=torch.float64) < accept_KC
        rows_KCS = torch.where(goes_KC[:, :, None], new_KCS, self._rows_KCS)
        score_KC = torch.where(goes_KC, new_KC, self._score_KC)
        source_KC = swapped(sweeps.beta_K, energy(score_KC), len(sweeps.energies) % 2, sweeps.n_mixing, self._generator)
        chain_KC = torch.arange(score_KC.shape[1]).expand_as(source_KC)
        self._rows_KCS, self._score_KC = rows_KCS[source_KC, chain_KC], score_KC[source_KC, chain_KC]

    def _move(self, beta_K: Float[Tensor, " K"]) -> Move:
        """A proposal for every state, flat: rung 0 anew from the law, the coldest by slopes, the others blindly."""
        n_rungs, n_chains = self._score_KC.shape
        n_informed = round(self._settings.gradients * (n_rungs - 1))
        fresh_CS = draw(self._look.problem.inputs, n_chains, generator=self._generator)
        parts = [Move(fresh_CS, self._look.at(fresh_CS).score_N, torch.zeros(n_chains, dtype=torch.float64))]
        for mover, first, last in (
            (self._blind, 1, n_rungs - n_informed),
            (self._informed, n_rungs - n_informed, n_rungs),
        ):
            if mover is not None and first < last:
                rows_NC, score_N = self._rows_KCS[first:last].flatten(0, 1), self._score_KC[first:last].flatten()
                beta_N = beta_K[first:last].repeat_interleave(n_chains)
                parts.append(mover.move(rows_NC, score_N, beta_N, self._generator))
        return Move(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))

    def _note(self, sweeps: Sweeps, rows_KCS: Int[Tensor, "K C S"], score_KC: Tensor, weight_KC: Tensor) -> None:
        """Count the hits among these rows, for each chain."""
        rung_M, chain_M = ((score_KC >= 0) & (weight_KC > 0)).nonzero(as_tuple=True)
        hits_MS = rows_KCS[rung_M, chain_M]
        log_p_M = log_prob(self._look.problem.inputs, hits_MS).tolist()
        weight_M = weight_KC[rung_M, chain_M].tolist()
        n_rungs, places = len(sweeps.beta_K), zip(rung_M.tolist(), chain_M.tolist(), strict=True)
        for key, (rung, chain), weight, log_p in zip(keys_of(hits_MS), places, weight_M, log_p_M, strict=True):
            sweeps.log_p[key] = log_p
            sweeps.hits[chain].setdefault(key, [0.0] * n_rungs)[rung] += weight
