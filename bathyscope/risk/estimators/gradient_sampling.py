"""`ITGIS`: importance sampling from independent tokens, each tilted by the score's mean slope in it.

    q_i(v) ∝ D_i(v) exp(g_i(v) / T),  g = moving average of the slopes over earlier batches,  w = D(x) / q(x)
(Wu and Hilton, arXiv 2410.13211, independent token gradient importance sampling.) Slopes are taken at embeddings and
projected on each position's support; rows are weighed in logarithms; what was seen before a batch counts exactly, and
the batch estimates the rest (`weights.py`). The temperature follows the share of hits from batch to batch.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import BACKWARD
from bathyscope.risk.estimate import Figures
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.proposal import Proposal
from bathyscope.risk.estimators.weights import Weights
from bathyscope.risk.look import Look
from bathyscope.risk.projection import Projection

COST = 1 + BACKWARD
"""Forwards that a row with its gradient costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ITGIS:
    """Batches of weighed rows; unbiased, since the number of batches is fixed and each looks at earlier ones alone."""

    temperature: float | None = None
    """T, in units of the score; None: started at 1 and moved until `hit_share` of the tilted rows are hits."""
    batch: int = 64
    """Rows between two changes of the tilt."""
    decay: float = 0.9
    """Of the moving average of the slopes."""
    defensive: float = 0.1
    """Share of rows drawn from the law of inputs itself; bounds each weight by its inverse. 0: none."""
    hit_share: float = 0.1
    """Where the temperature comes to rest."""
    speed: float = 0.5
    """Step of the temperature's logarithm for each batch, times how far the share of hits is off."""
    most_nats: float = 4.0
    """KL(q ‖ D) beyond which the temperature rises again: sharper, and few inputs are drawn over and over."""
    n_batches: int | None = None
    """Batches in all; None: as many as the budget pays for when no row repeats."""

    def __post_init__(self) -> None:
        if self.temperature is not None and not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}, expected above 0, or none to have it found")
        if self.batch < 1 or self.n_batches == 0 or not (0 <= self.decay < 1 and 0 <= self.defensive < 1):
            raise ConfigError("ITGIS takes batches of at least one row, and decay and defensive within [0, 1)")

    @property
    def name(self) -> str:
        """`ITGIS`."""
        return "ITGIS"

    @property
    def needs(self) -> frozenset[Need]:
        """A gradient and independent tokens."""
        return frozenset({"gradient", "tokens"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a budget that does not pay for two batches."""
        if look.room() < 2 * COST * self.batch:
            raise ConfigError(
                f"{self.name} needs {2 * COST * self.batch} forwards for two batches, found {look.room()}; "
                "raise the budget or lower batch"
            )
        return _Batches(self, look, generator)


class _Batches:
    def __init__(self, settings: ITGIS, look: Look, generator: torch.Generator) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._projection = Projection(look.problem)
        self._weights = Weights(defensive=settings.defensive)
        self._n_left = settings.n_batches or look.room() // (COST * settings.batch)
        self._slope = tuple(torch.zeros_like(log_p) for log_p in look.problem.inputs.log_p)
        self._share = 0.0
        self._log_temperature = math.log(settings.temperature or 1.0)

    def step(self) -> bool:
        """One batch."""
        if not self._n_left:
            return False
        proposal = self._proposal()
        rows_NC, mass = proposal.draw(self._settings.batch, generator=self._generator), self._look.memory.mass
        is_new_N = self._look.is_new(rows_NC)
        seen = self._look.slopes(rows_NC)
        self._weights.add(proposal.log_weight(rows_NC), seen.value_N, is_new_N, mass=mass)
        self._learn(seen.slope_NSD.mean(0))
        if self._settings.temperature is None:
            off = float(seen.value_N.mean()) - self._settings.hit_share
            self._log_temperature += self._settings.speed * (1.0 if proposal.nats() > self._settings.most_nats else off)
        self._n_left -= 1
        return True

    def figures(self, level: float) -> Figures:
        """Mean of the batches so far."""
        return self._weights.figures(level)

    def _proposal(self) -> Proposal:
        """The law, tilted by what was learnt so far."""
        law, temperature = self._look.problem.inputs, math.exp(self._log_temperature)
        log_q = tuple(
            (log_p + slope / temperature).log_softmax(0) for log_p, slope in zip(law.log_p, self._slope, strict=True)
        )
        return Proposal(law, log_q, self._settings.defensive)

    def _learn(self, slope_SD: Float[Tensor, "S D"]) -> None:
        """Moving average of the slopes, without the pull of its start towards 0."""
        decay = self._settings.decay
        self._share = decay * self._share + (1 - decay)
        rate = (1 - decay) / self._share
        self._slope = tuple(
            old + rate * (new - old) for old, new in zip(self._slope, self._projection.each(slope_SD), strict=True)
        )
