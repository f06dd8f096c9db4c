"""`Auto`: counts hits first, and goes on to splitting and importance sampling only where counting sees too few."""

import dataclasses
from dataclasses import dataclass, field

import torch

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Figures
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.estimators.split_importance import SplitImportance
from bathyscope.risk.look import Look

ENOUGH_HITS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """Naive sampling; what it leaves of the budget goes to split importance where the event turns out to be rare."""

    pilot_share: float = 0.1
    """Share of the budget that counts hits first; with 30 hits all of it is spent on counting."""
    rare: SplitImportance = field(default_factory=SplitImportance)
    """What is done about rare events that have a score."""

    def __post_init__(self) -> None:
        if not 0 < self.pilot_share < 1:
            raise ConfigError(f"pilot_share is {self.pilot_share}, expected a share within (0, 1)")

    @property
    def name(self) -> str:
        """`auto`."""
        return "auto"

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing: where an event has no score that decides, hits are counted throughout."""
        return frozenset()

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start."""
        return _Turns(self, look, generator)


class _Turns:
    """Counting, then perhaps something better."""

    def __init__(self, settings: Auto, look: Look, generator: torch.Generator) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._counting = Naive().begin(look, generator)
        self._rare: Run | None = None
        self._is_decided = False

    def step(self) -> bool:
        """One piece of whichever is at work."""
        if self._rare is not None:
            return self._rare.step()
        if not self._is_decided and self._look.ledger.spent >= self._settings.pilot_share * self._look.budget.forward:
            self._is_decided = True
            if self._is_rare():
                self._rare = self._settings.rare.begin(self._look, self._generator)
                return True
        return self._counting.step()

    def figures(self, level: float) -> Figures:
        """What the one at work knows; where the other's interval does not meet it, `disagree` and both together."""
        counted = self._counting.figures(level)
        if self._rare is None:
            return counted
        found = self._rare.figures(level)
        if found.log_low <= counted.log_high and counted.log_low <= found.log_high:
            return found
        low, high = min(found.log_low, counted.log_low), max(found.log_high, counted.log_high)
        return dataclasses.replace(found, log_low=low, log_high=high, flags=(*found.flags, "disagree"))

    def _is_rare(self) -> bool:
        rare, event = self._settings.rare, self._look.problem.event
        enough_left = self._look.room() >= 4 * rare.n_particles
        return not event.is_smooth and enough_left and self._counting.figures(0.95).n_hits < ENOUGH_HITS
