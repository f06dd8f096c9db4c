"""`Splitting`: adaptive multilevel splitting, also called subset simulation; needs a score, no gradient.

Particles from the law of inputs; the level rises to the score that a share `p0` of them reaches; survivors are copied
and moved by a choice at a time, at times more, redrawn from its own law, and kept if they stay above the level. The
product of the shares estimates the probability (Au and Beck 2001; Cérou and Guyader 2007).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.inputs.law import Law, draw, draw_again, free_choices
from bathyscope.risk.look import Look
from bathyscope.risk.tails import log_mean_interval

MOST_LEVELS = 40
MOST_RUNS = 64
STILL = 0.999
"""A level that more than this share of the particles reach is no step up: they are moved where they are."""
PATIENCE = 3
"""Such levels in a row before a run is stuck."""
FEW_SHARE, ALL_SHARE = 0.2, 0.05
"""Shares of moves that redraw two choices, and all of them: without them a rugged score holds particles for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """Independent runs of adaptive multilevel splitting."""

    n_particles: int = 500
    """Particles of a run."""
    p0: float = 0.1
    """Share of them that a level keeps."""
    n_moves: int = 8
    """Moves of each particle behind a level."""
    most_new: float = 4.0
    """Looks behind a level that are not remembered ones, in particles: no move is made when they have been."""
    n_runs: int | None = None
    """Independent runs; None: as many as the budget pays for, at most 64."""

    def __post_init__(self) -> None:
        if self.n_particles < 10 or self.n_moves < 1 or not 0 < self.p0 < 1 or self.n_runs == 0:
            raise ConfigError("splitting takes at least 10 particles, 1 move, a share within (0, 1), 1 run")

    @property
    def name(self) -> str:
        """`splitting`."""
        return "splitting"

    @property
    def needs(self) -> frozenset[Need]:
        """A score that decides."""
        return frozenset({"score"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a budget that does not pay for the particles and one level."""
        least = 2 * self.n_particles
        if look.room() < least:
            raise ConfigError(
                f"{self.name} needs {least} forwards for one level, found {look.room()}; "
                "raise the budget or lower n_particles"
            )
        return _Runs(self, look, generator)


class Particles:
    """One run of splitting, under the law of inputs or another one over the same choices."""

    def __init__(self, settings: Splitting, look: Look, generator: torch.Generator, *, law: Law | None = None) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._law = look.problem.inputs if law is None else law
        self.rows_NC: Int[Tensor, "N C"] = draw(self._law, settings.n_particles, generator=generator)
        self.score_N: Float[Tensor, " N"] = look.at(self.rows_NC).score_N
        self._hits: list[Tensor] = [self.rows_NC[self.score_N >= 0]]
        self.log_p = 0.0
        """Logarithm of the probability of reaching the last level; of the event when `is_whole`."""
        self.n_levels = self._n_still = 0
        self.is_whole = False
        """Whether the event was reached."""
        self.is_stuck = False
        """Whether a level was no step, or there were too many."""

    def step(self) -> bool:
        """One level; False when the event is reached or cannot be."""
        hits_N = self.score_N >= 0
        share = float(hits_N.double().mean())
        if share >= self._settings.p0:
            self.log_p += math.log(share)
            self.rows_NC, self.score_N = self.rows_NC[hits_N], self.score_N[hits_N]
            self.is_whole = True
            return False
        level = min(float(self.score_N.quantile(1 - self._settings.p0)), 0.0)
        above_N = self.score_N >= level
        share = float(above_N.double().mean())
        still = share > STILL
        self._n_still = self._n_still + 1 if still else 0
        if self._n_still > PATIENCE or self.n_levels == MOST_LEVELS:
            self.is_stuck = True
            return False
        self.n_levels += not still
        self._copy(above_N)
        paid = self._look.ledger.spent + self._settings.most_new * self._settings.n_particles
        for _ in range(self._settings.n_moves):
            if self._look.ledger.spent >= paid:
                break
            self._move(level)
        self.log_p += math.log(share)
        return True

    def spread(self) -> float:
        """Standard deviation of `log_p`, to first order: of each level's share, were particles independent, doubled.

        Copies of one survivor resemble each other, which is what the doubling is for (Au and Beck 2001, γ = 3).
        """
        p0, n = self._settings.p0, self._settings.n_particles
        return 2 * math.sqrt((self.n_levels + 1) * (1 - p0) / (p0 * n))

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.is_whole or self.is_stuck

    def hits(self) -> Int[Tensor, "H C"]:
        """Distinct rows that this run has seen to show the event, proposals that were not taken included."""
        return torch.cat(self._hits).unique(dim=0)

    def _copy(self, above_N: Tensor) -> None:
        survivors = above_N.nonzero()[:, 0]
        chosen_N = survivors[torch.randint(len(survivors), above_N.shape, generator=self._generator)]
        self.rows_NC, self.score_N = self.rows_NC[chosen_N], self.score_N[chosen_N]

    def _move(self, level: float) -> None:
        proposed_NC = redrawn(self._law, self.rows_NC, self._generator)
        score_N = self._look.at(proposed_NC).score_N
        self._hits.append(proposed_NC[score_N >= 0])
        stays_N = score_N >= level
        self.rows_NC = torch.where(stays_N[:, None], proposed_NC, self.rows_NC)
        self.score_N = torch.where(stays_N, score_N, self.score_N)


def redrawn(law: Law, rows_NC: Int[Tensor, "N C"], generator: torch.Generator) -> Int[Tensor, "N C"]:
    """The rows with some free choices drawn again from their own laws: one, at times two or all; themselves drawn."""
    free_M = free_choices(law)
    order_NM = torch.rand(len(rows_NC), len(free_M), generator=generator).argsort(1).argsort(1)
    part_N = torch.rand(len(rows_NC), generator=generator)
    number_N = torch.where(part_N < ALL_SHARE, len(free_M), torch.where(part_N < ALL_SHARE + FEW_SHARE, 2, 1))
    again_NC = torch.zeros(rows_NC.shape, dtype=torch.bool)
    again_NC[:, free_M] = order_NM < number_N[:, None]
    return draw_again(law.log_p, rows_NC, again_NC, generator=generator)


class _Runs:
    """Runs one after another."""

    def __init__(self, settings: Splitting, look: Look, generator: torch.Generator) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._running: Particles | None = None
        self._done: list[Particles] = []

    def step(self) -> bool:
        """One level of the running run, or the start of the next."""
        if self._running is None:
            if len(self._done) == (self._settings.n_runs or MOST_RUNS) or self._look.room() < self._usual_cost():
                return False
            self._running, self._before = (
                Particles(self._settings, self._look, self._generator),
                self._look.ledger.spent,
            )
            return True
        if not self._running.step():
            self._done.append(self._running)
            self._running = None
        return True

    def figures(self, level: float) -> Figures:
        """Mean of the whole runs, with Cox's interval in the logarithm; one run gives no lower end."""
        log_p_R = np.array([run.log_p if run.is_whole else -math.inf for run in self._done])
        hits = sum(int((run.score_N >= 0).sum()) for run in self._done)
        flags: list[Flag] = ["stuck"] if any(run.is_stuck for run in self._done) else []
        reached = log_p_R[np.isfinite(log_p_R)]
        if not len(reached):
            upper = min(0.0, max((run.log_p for run in self._done), default=0.0) - math.log(1 - level))
            return Figures(log_p=-math.inf, log_low=-math.inf, log_high=upper, flags=(*flags, "no_hits"))
        log_p = max(float(np.logaddexp.reduce(reached) - math.log(len(log_p_R))), self._look.log_mass)
        low, high = log_mean_interval(log_p_R, level=level)
        return Figures(log_p=log_p, log_low=low, log_high=min(high, 0.0), n_hits=hits, flags=tuple(flags))

    def _usual_cost(self) -> int:
        """Forwards that the runs have cost on average: what another one may be expected to cost."""
        return self._look.ledger.spent // max(len(self._done), 1)
