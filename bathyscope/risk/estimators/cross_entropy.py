"""`CrossEntropy`: a product law learnt from its own best rows, round after round; needs a score, no gradient.

    q_i(v) ← (1 - keep) Σ w 1[s ≥ level] 1[x_i = v] / Σ w 1[s ≥ level] + keep q_i(v),   w = D(x) / q(x)
The level is the score that a share `elite` of a round reaches, at most 0. Once it is 0 the law is frozen, and all that
is left of the budget goes into one last round, the only one that is estimated from (Rubinstein 1999; de Boer et al.
2005). Fails when the event happens in several ways that no product law holds together: see the flags.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import BudgetSpent
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.proposal import Proposal
from bathyscope.risk.estimators.weights import Weights
from bathyscope.risk.look import Look

FEW = 30
"""Effective hits of the last round below which another way to the event is easily missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """Rounds that learn a product law, then one that estimates."""

    n_rounds: int = 10
    """Most rounds of learning; fewer when hits are common before."""
    learning_share: float = 0.5
    """Of the budget, spread evenly over the rounds of learning."""
    elite: float = 0.1
    """Share of a round that the law is learnt from."""
    keep: float = 0.3
    """Share of the law that a round leaves as it was."""
    defensive: float = 0.1
    """Share of rows drawn from the law of inputs itself; bounds each weight by its inverse."""

    patience: int = 4
    """Rows of the last round, remembered ones too, as a multiple of what is left of the budget when it begins."""

    def __post_init__(self) -> None:
        shares = (self.learning_share, self.elite, self.keep, self.defensive)
        if self.n_rounds < 1 or self.patience < 1 or not all(0 < share < 1 for share in shares):
            raise ConfigError("cross-entropy takes at least one round, a patience of 1, and shares within (0, 1)")

    @property
    def name(self) -> str:
        """`cross-entropy`."""
        return "cross-entropy"

    @property
    def needs(self) -> frozenset[Need]:
        """A score that decides."""
        return frozenset({"score"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError when a round would have no more than one row to learn from."""
        size, least = self.round_size(look.room()), math.ceil(2 / self.elite)
        if size < least:
            raise ConfigError(
                f"{self.name} needs rounds of {least} forwards, found {look.room()} forwards for {self.n_rounds} "
                "rounds; raise the budget or lower n_rounds"
            )
        return _Rounds(self, look, generator)

    def round_size(self, room: int) -> int:
        """Rows of a round of learning."""
        return int(self.learning_share * room) // self.n_rounds


class _Rounds:
    def __init__(self, settings: CrossEntropy, look: Look, generator: torch.Generator) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._log_q = look.problem.inputs.log_p
        self._size = settings.round_size(look.room())
        self._n_learnt, self._is_frozen = 0, False
        self._level = -math.inf
        self._last = Weights(defensive=settings.defensive)

    def step(self) -> bool:
        """One round of learning, or a batch of the last one."""
        if not self._is_frozen:
            self._learn()
            self._is_frozen = self._level >= 0 or self._n_learnt == self._settings.n_rounds
            if self._is_frozen:
                self._plan = self._settings.patience * self._look.room()
            return True
        n = min(self._look.batch_size, self._plan)
        if n == 0:
            return False
        self._plan -= n
        proposal = Proposal(self._look.problem.inputs, self._log_q, self._settings.defensive)
        rows_NC, mass = proposal.draw(n, generator=self._generator), self._look.memory.mass
        is_new_N = self._look.is_new(rows_NC)
        try:
            value_N = self._look.at(rows_NC).value_N
        except BudgetSpent:  # what a batch costs is known only afterwards: this is how the plan ends
            return False
        self._last.add(proposal.log_weight(rows_NC), value_N, is_new_N, mass=mass)
        return True

    def figures(self, level: float) -> Figures:
        """Of the last round so far; what earlier rounds saw counts exactly."""
        figures = self._last.figures(level)
        flags: list[Flag] = list(figures.flags)
        if self._is_frozen and self._level < 0:
            flags.append("stuck")
        if figures.ess is not None and figures.ess < FEW:
            flags.append("probably_low")
        return replace(figures, flags=tuple(flags))

    def _learn(self) -> None:
        """Draw a round and move the law towards its best rows."""
        proposal = Proposal(self._look.problem.inputs, self._log_q, self._settings.defensive)
        rows_NC = proposal.draw(self._size, generator=self._generator)
        score_N = self._look.at(rows_NC).score_N
        self._level = min(float(score_N.quantile(1 - self._settings.elite)), 0.0)
        best_N = score_N >= self._level
        self._log_q = learnt(self._log_q, rows_NC[best_N], proposal.log_weight(rows_NC)[best_N], self._settings.keep)
        self._n_learnt += 1


def learnt(
    log_q: tuple[Float[Tensor, " _"], ...], rows_MC: Int[Tensor, "M C"], log_w_M: Float[Tensor, " M"], keep: float
) -> tuple[Float[Tensor, " _"], ...]:
    """The law moved towards these weighed rows, by a share `1 - keep`."""
    share_M = log_w_M.softmax(0)
    found: list[Tensor] = []
    for log_q_K, chosen_M in zip(log_q, rows_MC.unbind(1), strict=True):
        seen_K = torch.zeros_like(log_q_K).index_add_(0, chosen_M, share_M)
        found.append(((1 - keep) * seen_K + keep * log_q_K.exp()).log())
    return tuple(found)
