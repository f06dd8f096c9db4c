"""`Budget`: what an estimate may cost; `Ledger`: what it has cost. Burn-in and pilots count like everything else."""

import math
import time
from dataclasses import dataclass, field

from bathyscope.errors import ConfigError

BACKWARD = 2
"""Forwards that one backward costs: it does two products for each of the forward's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """An upper limit of what one estimate spends; reaching it ends the estimate, with what is known by then."""

    forward: int = 65_536
    """Rows sent through the network; a row whose gradient is taken counts three, a written token one."""
    seconds: float | None = None
    """Wall-clock limit; None: none."""

    def __post_init__(self) -> None:
        if self.forward < 1:
            raise ConfigError(f"a budget of {self.forward} forwards buys nothing; give at least 1")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ConfigError(f"a budget of {self.seconds} seconds is none; give a number above 0, or no limit")


class BudgetSpent(Exception):
    """Ends an estimator's work when the next batch would cost more than is left; never leaves `estimate`."""


@dataclass(slots=True)
class Ledger:
    """What has been spent so far."""

    forward: int = 0
    """Rows sent through the network."""
    backward: int = 0
    """Rows whose gradient was taken, besides their forward."""
    prompt_tokens: int = 0
    """Tokens read by the network that it was given."""
    generated_tokens: int = 0
    """Tokens that it wrote."""
    remembered: int = 0
    """Rows that were asked again and answered from memory, for nothing."""
    started: float = field(default_factory=time.monotonic)
    """When the work began, on a clock that never goes back."""

    @property
    def spent(self) -> int:
        """Forwards, a backward counted as two."""
        return self.forward + BACKWARD * self.backward

    @property
    def seconds(self) -> float:
        """Wall-clock time since the work began."""
        return time.monotonic() - self.started

    def left(self, budget: Budget) -> int:
        """Forwards that may still be spent; 0 when the time is over."""
        if budget.seconds is not None and self.seconds >= budget.seconds:
            return 0
        return max(0, budget.forward - self.spent)
