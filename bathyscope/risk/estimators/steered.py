"""`Steered`: importance sampling of written texts, with steered models as proposals.

`p = (1/N) Σ_n 1[hit_n] · p(y_n) / Σ_j a_j q_j(y_n)`, q_0 = the plain model, a_j = each law's share of the texts

The idea of a proposal by activation steering is that of arXiv 2604.22167. Weights cannot exceed 1/a_0. Unbiased for any
proposals; a proposal that misses a way to the event leaves it to the plain share, and the estimate is then mostly low.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Run
from bathyscope.risk.inputs.writing import Writing
from bathyscope.risk.mixture import Mixed, Mixture, best_shares
from bathyscope.risk.tails import clopper_pearson, weighed
from bathyscope.risk.written_look import WrittenLook

HEAVY_K = 0.7
"""Pareto shape above which a mean of weights is not to be trusted (Vehtari et al. 2024)."""
HEAVY_SHARE = 0.5
FEW = 10.0
"""Effective number of hits below which a missed way to the event would not be noticed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steered:
    """Weighted share of hits among texts of the plain model and of proposals, such as steered models."""

    proposals: tuple[Writing, ...]
    """Laws of the same texts: `law.inside(lambda: bs.steer(model, operations), name=...)` for each strength."""
    plain_share: float = 0.1
    """Least share of the texts that the plain model writes: bounds the weights, and finds what proposals miss."""
    n_pilot: int = 0
    """Texts of a first round from which the proposals' shares are learnt; they count as cost, not in the estimate."""

    def __post_init__(self) -> None:
        if not self.proposals or not 0 < self.plain_share < 1 or self.n_pilot < 0:
            raise ConfigError(
                f"{len(self.proposals)} proposals with a plain share of {self.plain_share} and a pilot of "
                f"{self.n_pilot}; expected at least one proposal and a share within (0, 1)"
            )

    @property
    def name(self) -> str:
        """`steered`."""
        return "steered"

    def begin_written(self, look: WrittenLook, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a budget that does not pay for the pilot and a text of each law."""
        least = self.n_pilot + max(math.ceil(1 / self.plain_share), len(self.proposals) + 1)
        room = look.room(n_readings=len(self.proposals))
        if room < least:
            raise ConfigError(f"{self.name} needs {least} texts, the budget pays for {room}; raise it or lower n_pilot")
        return _Weighing(self, look, generator)


class _Weighing:
    def __init__(self, settings: Steered, look: WrittenLook, generator: torch.Generator) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._laws = (look.problem.texts, *settings.proposals)
        n_proposals = len(settings.proposals)
        each = (1 - settings.plain_share) / n_proposals
        self._share_J = np.array([settings.plain_share, *[each] * n_proposals])
        self._is_piloted = settings.n_pilot == 0
        self._mixture = Mixture(look, self._laws, generator)

    def step(self) -> bool:
        """The pilot, or one batch."""
        if not self._is_piloted:
            pilot = Mixture(self._look, self._laws, self._generator)
            pilot.draw(self._settings.n_pilot, self._share_J)
            self._share_J = best_shares(pilot.mixed(), self._share_J, plain=self._settings.plain_share)
            self._is_piloted = True
            return True
        n = min(self._look.batch_size, self._mixture.room())
        if n == 0:
            return False
        self._mixture.draw(n, self._share_J)
        return True

    def figures(self, level: float) -> Figures:
        """The weighted share of hits so far."""
        return weighted_figures(self._mixture.mixed(), 0, level=level)


def weighted_figures(mixed: Mixed, law: int, *, level: float) -> Figures:
    """P(event) under one of the mixture's laws; with no hits, the upper end from the texts that it wrote itself."""
    log_w_M = log_weights(mixed, law)
    n = int(mixed.n_J.sum())
    if not len(log_w_M):
        high = clopper_pearson(0, int(mixed.n_J[law]), level=level)[1]
        flags: tuple[Flag, ...] = ("no_hits", "probably_low")
        return Figures(log_p=-math.inf, log_low=-math.inf, log_high=math.log(high), flags=flags)
    mean = weighed(log_w_M, n, level=level)
    low, high = mean.log_low, mean.log_high
    if mean.ess < FEW:  # a normal interval of so few weights is a guess; what the plain model's own texts leave is not
        own_high = clopper_pearson(0, int(mixed.n_J[law]), level=level)[1]
        low, high = -math.inf, max(high, math.log(own_high))
    shape = -math.inf if mean.pareto_k is None else mean.pareto_k
    is_heavy = shape > HEAVY_K or mean.max_share > HEAVY_SHARE
    found: list[tuple[bool, Flag]] = [(is_heavy, "heavy_tail"), (shape > HEAVY_K or mean.ess < FEW, "probably_low")]
    return Figures(
        log_p=mean.log_mean,
        log_low=low,
        log_high=min(high, 0.0),
        n_hits=len(log_w_M),
        ess=mean.ess,
        max_weight_share=mean.max_share,
        pareto_k=mean.pareto_k,
        flags=tuple(flag for holds, flag in found if holds),
    )


def log_weights(mixed: Mixed, law: int) -> np.ndarray:
    """Logarithms of the hits' weights under one law, each times the probability of the event; misses are left out."""
    value_N = mixed.seen.value_N.numpy()
    hit_N = value_N > 0
    return (mixed.log_p_JN[law] - mixed.log_q_N)[hit_N] + np.log(value_N[hit_N])
