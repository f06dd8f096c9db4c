"""`MHIS`: Metropolis chains drawn towards the event, and weights that undo it.

    q_k(x) ∝ D(x) exp(β_k min(s(x), 0)),   p = Σ_n w_n 1[hit],   w from all rungs at once (MBAR)
After Wu and Hilton (arXiv 2410.13211, Metropolis-Hastings importance sampling), whose single temperature and harmonic
mean are `form="harmonic"`. The ladder finds its temperatures by itself and needs no gradient.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from bathyscope.errors import ConfigError
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.harmonic import Harmonic
from bathyscope.risk.estimators.ladder import Ladder
from bathyscope.risk.look import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class MHIS:
    """Chains on a ladder of temperatures."""

    form: Literal["ladder", "harmonic"] = "ladder"
    """Many temperatures and MBAR, or the released form: one temperature and a harmonic mean, as a reference."""
    n_chains: int = 16
    """Chains, each with one state on every rung."""
    gradients: float = 0.0
    """Share of the rungs, from the coldest, whose moves follow the slopes of the score; each such row costs three."""
    uniform: float = 0.5
    """Share of blind moves that take any option alike, the rest take it by its law."""
    pairs: float = 0.3
    """Share of blind moves that redraw two neighbouring choices at once."""
    exact: bool = True
    """Whether inputs that several chains saw count with their exact probability, the others by their weight."""
    ascent_share: float = 0.15
    """Share of the budget for coordinate ascents, which find a few isolated inputs; with `exact` these are counted."""
    n_particles: int = 128
    """Of the pilot that finds the temperatures."""
    n_pilot_moves: int = 3
    """Moves of each particle on a rung."""
    ess_share: float = 0.4
    """Overlap of neighbouring rungs: share of effective particles that a step of temperature leaves."""
    hit_share: float = 0.3
    """Share of hits among the pilot's particles at which the ladder is cold enough."""
    least_accepted: float = 0.25
    """Share of accepted moves below which a rung and all colder ones only find inputs: chains are caught there."""
    pilot_share: float = 0.3
    """Share of the budget at which the pilot ends at the latest."""
    temperature: float = 1.0
    """T of the harmonic form, in units of the score."""
    burn_in: float = 1 / 3
    """Looks, as a share of the budget, before the harmonic form counts."""
    patience: int = 4
    """Looks, remembered ones too, that end a run, as a multiple of the budget: a small space is soon all known."""

    def __post_init__(self) -> None:
        if self.n_chains < 4 or self.n_particles < 10 or self.n_pilot_moves < 1 or self.patience < 1:
            raise ConfigError("MHIS takes at least 4 chains, 10 particles, a move and a patience of 1")
        if not (0 < self.ess_share < 1 and 0 < self.hit_share < 1 and 0 < self.pilot_share < 1):
            raise ConfigError("MHIS takes shares within (0, 1)")
        if not 0 <= self.ascent_share < 1:
            raise ConfigError(f"ascent_share is {self.ascent_share}, expected a share within [0, 1)")
        if not (self.temperature > 0 and 0 <= self.gradients <= 1 and 0 <= self.burn_in < 1):
            raise ConfigError("MHIS takes a temperature above 0 and shares of at most 1")

    @property
    def name(self) -> str:
        """`MHIS`, or `MHIS harmonic`."""
        return "MHIS" if self.form == "ladder" else "MHIS harmonic"

    @property
    def needs(self) -> frozenset[Need]:
        """A score that decides; where slopes lead also its gradient and independent tokens."""
        is_led = self.gradients > 0 or self.form == "harmonic"
        return frozenset({"score", "gradient", "tokens"} if is_led else {"score"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a budget that does not pay for a few steps."""
        least = 8 * self.n_particles if self.form == "ladder" else 16 * self.n_chains
        if look.room() < least:
            raise ConfigError(
                f"{self.name} needs {least} forwards, found {look.room()}; raise the budget, or lower n_particles "
                "and n_chains"
            )
        return Ladder(self, look, generator) if self.form == "ladder" else Harmonic(self, look, generator)
