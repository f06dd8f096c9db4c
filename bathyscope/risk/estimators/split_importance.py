"""`SplitImportance`: searches find inputs that show the event; importance sampling around them weighs the rest.

The searches are coordinate ascents, which find a few isolated inputs, and runs of splitting, which find where many are.

What was looked at is known, so its probability is counted exactly, not estimated:
p = Σ_{x seen, hit} D(x) + E_q[ 1[x unseen] 1[hit] D(x) / q(x) ],  q fixed before its first draw (`kernel_mixture`).
Unbiased given the search, and never below the probability of the inputs found, which is a certain lower bound.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.ascent import OPEN, Ascents
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.kernel_mixture import KernelMixture, best_rate
from bathyscope.risk.estimators.splitting import Particles, Splitting
from bathyscope.risk.inputs.law import Law, Opened, log_prob
from bathyscope.risk.look import Look
from bathyscope.risk.tails import weighed

MOST_CENTRES = 512
MOST_SEARCHES = 12
FEWEST_CHAINS = 4
"""Ascents that must be payable; where choices are too many for that, the forwards are better spent on splitting."""
FREE_DRAWS = 50
"""Draws of rows already seen that are made at most for each one that is paid for."""
SAFETY = 0.95
"""Share of what is left that the draws are expected to cost."""
STRIDE = 8
"""Batches that a step draws; most of their rows were seen before."""
FEW = 10.0
"""Effective number of weights below which the normal interval is not used."""
HEAVY = 0.5
"""Share of the heaviest weight above which it is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitImportance:
    """Search by splitting, then importance sampling with a memory."""

    n_particles: int = 250
    """Particles of each search."""
    n_moves: int = 6
    """Moves of each particle behind a level."""
    ascent_share: float = 0.2
    """Share of the budget for coordinate ascents, which come first."""
    search_share: float = 0.6
    """Share of the budget after which no new search begins, ascents included."""

    def __post_init__(self) -> None:
        if not 0 <= self.ascent_share <= self.search_share < 1 or self.search_share == 0:
            raise ConfigError(
                f"ascent_share {self.ascent_share}, search_share {self.search_share}: "
                "expected shares within [0, 1), the second above 0 and not the smaller one"
            )
        _ = self.search  # which refuses numbers that are none

    @property
    def search(self) -> Splitting:
        """Settings of a search."""
        return Splitting(n_particles=self.n_particles, n_moves=self.n_moves)

    @property
    def wide_search(self) -> Splitting:
        """The same where choices are so many that little is remembered: more particles, fewer moves of each."""
        return Splitting(n_particles=2 * self.n_particles, n_moves=self.n_moves, most_new=2.0)

    @property
    def name(self) -> str:
        """`split importance`."""
        return "split importance"

    @property
    def needs(self) -> frozenset[Need]:
        """A score that decides."""
        return frozenset({"score"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a budget that does not pay for a search."""
        least = 4 * self.n_particles
        if look.room() < least:
            raise ConfigError(
                f"{self.name} needs {least} forwards to begin, found {look.room()}; raise the budget, or lower "
                "n_particles"
            )
        return _Work(self, look, generator)


class _Work:
    """Ascents, runs of splitting, then the weighing."""

    def __init__(self, settings: SplitImportance, look: Look, generator: torch.Generator) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._room = look.room()
        self._ascents = Ascents(look, generator, forward=settings.ascent_share * self._room)
        self._is_wide = self._ascents.n_payable < FEWEST_CHAINS
        self._searches: list[Particles] = []
        self._began: list[int] = []
        self._weighing: _Weighing | None = None

    def step(self) -> bool:
        """One round of ascents, one level of splitting, or one batch of weighing."""
        if self._weighing is not None:
            return self._weighing.step()
        until = (1 - self._settings.ascent_share) * self._room
        if not self._is_wide and self._ascents.goes_on(until=until):
            self._ascents.step()
            return True
        if self._searches and not self._searches[-1].is_over:
            self._searches[-1].step()
            return True
        no_more = self._look.room() < self._settings.n_particles or len(self._searches) == MOST_SEARCHES
        spent = self._look.ledger.spent >= self._settings.search_share * self._look.budget.forward
        dear = self._look.room() < 1.2 * self._dearest_search()  # another one would leave nothing to weigh with
        enough = bool(self._searches) and (spent or dear)  # ascents alone do not say where most of it is
        if (enough or no_more) and self._found():
            self._weighing = _Weighing(self._look, self._found(), self._searches, self._generator)
            return True
        if enough and self._ascents.goes_on(until=0.0):  # nothing found: the event may be a few isolated inputs
            self._ascents.step()
            return True
        if no_more:
            return False
        law = self._look.problem.inputs
        wide = Opened(law=law, share=OPEN) if len(self._searches) % 2 else law
        search = self._settings.wide_search if self._is_wide else self._settings.search
        self._began.append(self._look.ledger.spent)
        self._searches.append(Particles(search, self._look, self._generator, law=wide))
        return True

    def figures(self, level: float) -> Figures:
        """What is known so far."""
        if self._weighing is not None:
            return self._weighing.figures(level)
        hits = self._found()
        ordinary = [run.log_p for run in self._searches[::2] if run.is_over]
        upper = min(0.0, max(ordinary, default=0.0) - math.log(1 - level))
        stuck: tuple[Flag, ...] = ("stuck",) if any(run.is_stuck for run in self._searches) else ()
        if not hits:
            return Figures(log_p=-math.inf, log_low=-math.inf, log_high=upper, flags=(*stuck, "no_hits"))
        mass = float(log_prob(self._look.problem.inputs, torch.cat(hits).unique(dim=0)).logsumexp(0))
        flags: tuple[Flag, ...] = (*stuck, "probably_low")
        n_hits = sum(map(len, hits))
        whole = [run for run in self._searches[::2] if run.is_whole]
        shares, half = _by_shares(whole, level) if whole else (-math.inf, 0.0)
        high = min(max(mass, upper, shares + half), 0.0)
        return Figures(log_p=max(mass, shares), log_low=mass, log_high=high, n_hits=n_hits, flags=flags)

    def _dearest_search(self) -> int:
        """What the runs of splitting have cost at most."""
        return max(
            (end - start for start, end in itertools.pairwise([*self._began, self._look.ledger.spent])), default=0
        )

    def _found(self) -> list[Tensor]:
        """Of every search that found some, its distinct rows that show the event."""
        return [own for own in (self._ascents.hits(), *(run.hits() for run in self._searches)) if len(own)]


class _Weighing:
    """Importance sampling of what the searches have not seen."""

    def __init__(self, look: Look, found: list[Tensor], searches: list[Particles], generator: torch.Generator) -> None:
        self._look, self._generator = look, generator
        self._ordinary = [run for run in searches[::2] if run.is_over]
        """Runs under the law itself: their shares say how likely the event is, or what they came to."""
        whole = [run.rows_NC for run in searches if run.is_whole]
        rows_HC, times_H = torch.cat(found).unique(dim=0, return_counts=True)
        log_p_H = log_prob(look.problem.inputs, rows_HC)
        self._log_mass = float(log_p_H.logsumexp(0))
        self._log_once = float(log_p_H[times_H == 1].logsumexp(0)) if len(found) > 1 else self._log_mass
        self._log_unfound = self._log_once - math.log(1 + len(searches))
        """What another search might add, by how much one alone has found (Good 1953)."""
        self._n_hits = len(rows_HC)
        self._mixture = proposal(look.problem.inputs, whole, rows_HC)
        self._n_seen = len(look.memory.scores)
        self._n_left = self._draws()
        self._n_drawn = 0
        self._log_w: list[Tensor] = []
        """Of draws unseen before that show the event."""
        self._log_near: list[Tensor] = []
        """Weights of draws unseen before that came from around a centre."""

    def _draws(self) -> int:
        """Rows to draw, so that those not seen before cost what is left."""
        seen_NC, _ = self._look.memory.known()
        share = min(float(self._mixture.log_prob(seen_NC).exp().sum()), 1.0)
        room = self._look.room()
        return int(min(room * FREE_DRAWS, SAFETY * room / max(1 - share, 1 / FREE_DRAWS)))

    def step(self) -> bool:
        """One batch."""
        n = min(self._n_left, STRIDE * self._look.batch_size)
        if n == 0:
            return False
        rows_NC, is_around_N = self._mixture.draw(n, generator=self._generator)
        is_old_N = self._look.is_among_first(rows_NC, self._n_seen)
        new_MC = rows_NC[~is_old_N]
        if len(new_MC):
            value_M = self._look.at(new_MC).value_N
            log_w_M = log_prob(self._look.problem.inputs, new_MC) - self._mixture.log_prob(new_MC)
            self._log_w.append(log_w_M[value_M > 0])
            self._log_near.append(log_w_M[is_around_N[~is_old_N]])
        self._n_left -= n
        self._n_drawn += n
        return True

    def figures(self, level: float) -> Figures:
        """The sum of both parts. Few hits among the draws bound the unseen part by what draws near the centres weigh,
        and by what one search alone has found."""
        log_w_M = torch.cat([torch.zeros(0, dtype=torch.float64), *self._log_w])
        rest = weighed(log_w_M.numpy(), max(self._n_drawn, 1), level=level)
        low, high = rest.log_low, _add(rest.log_high, self._log_unfound)
        if rest.ess < FEW:
            high = max(rest.log_high if len(log_w_M) else self._bound(level), self._log_once)
        if rest.ess < FEW or rest.log_mean < self._log_mass:
            low = -math.inf  # what was seen carries most of it: the lower end is what is certain
        mass = self._log_mass
        log_p, log_low, log_high = _add(mass, rest.log_mean), _add(mass, low), _add(mass, high)
        flags: list[Flag] = []
        if self._log_once > mass + math.log(0.5):  # memory does not decide: splitting has a say
            whole = [run for run in self._ordinary if run.is_whole]
            shares, half = _by_shares(whole, level) if whole else (-math.inf, 0.0)
            if rest.ess < FEW or not whole or log_p < shares - half:
                flags.append("probably_low")
                reached = [run.log_p for run in self._ordinary if not whole]
                log_p, log_high = max(log_p, shares), max(log_high, shares + half, *reached)
        if rest.max_share > HEAVY and rest.log_mean > mass:
            flags.append("heavy_tail")
        return Figures(
            log_p=min(log_p, 0.0),
            log_low=log_low,
            log_high=min(log_high, 0.0),
            n_hits=self._n_hits + len(log_w_M),
            ess=rest.ess,
            max_weight_share=rest.max_share,
            pareto_k=rest.pareto_k,
            flags=tuple(flags),
        )

    def _bound(self, level: float) -> float:
        """What the unseen part may hold though no draw found it: the rule of three, times a usual weight."""
        near = torch.cat([torch.zeros(0, dtype=torch.float64), *self._log_near])
        if not len(near):
            return -math.inf
        return float(near.median()) + math.log(-math.log(1 - level) / self._n_drawn)


def _by_shares(runs: Sequence[Particles], level: float) -> tuple[float, float]:
    """What whole runs of splitting say of log p, and half the width of an interval of it."""
    log_p_R = np.array([run.log_p for run in runs])
    spread = max(run.spread() for run in runs) / math.sqrt(len(runs))
    return float(np.logaddexp.reduce(log_p_R) - math.log(len(runs))), NormalDist().inv_cdf((1 + level) / 2) * spread


def proposal(law: Law, final: Sequence[Int[Tensor, "_ C"]], found_HC: Int[Tensor, "H C"]) -> KernelMixture:
    """The mixture around the particles that searches ended with, each search alike, and around all else they found."""
    everywhere = 0.2 if final else 1.0
    rows = [found_HC, *final]
    weights = [torch.full((len(found_HC),), everywhere / len(found_HC), dtype=torch.float64)]
    weights += [torch.full((len(own),), 0.8 / len(final) / len(own), dtype=torch.float64) for own in final]
    centres_HC, number_N = torch.cat(rows).unique(dim=0, return_inverse=True)
    share_H = torch.zeros(len(centres_HC), dtype=torch.float64).index_add_(0, number_N, torch.cat(weights))
    kept = share_H.argsort(descending=True, stable=True)[:MOST_CENTRES]
    halves = (torch.cat(list(final[::2])), torch.cat(list(final[1::2]))) if len(final) > 1 else _halves(centres_HC)
    return KernelMixture(
        law=law,
        centres_HC=centres_HC[kept],
        share_H=share_H[kept] / share_H[kept].sum(),
        rate=best_rate(law, *halves),
    )


def _halves(rows_HC: Int[Tensor, "H C"]) -> tuple[Tensor, Tensor]:
    """Every other row; one row alone is both halves."""
    return rows_HC[::2], rows_HC[1::2] if len(rows_HC) > 1 else rows_HC


def _add(log_a: float, log_b: float) -> float:
    return float(np.logaddexp(log_a, log_b))
