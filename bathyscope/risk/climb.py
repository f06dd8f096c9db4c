"""`climb`: the search of one who looks for single bad inputs: change a choice, keep what raises the score.

The baseline that `law_search` is compared with. It ends at the first input that shows the event, and says how likely
that input is: one that nobody would ever send is no finding about those who ask.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget, BudgetSpent
from bathyscope.risk.inputs.law import Law, draw, free_choices, log_prob
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem

Among = Literal["ordinary", "level"]
"""Changes drawn from the law of inputs, or from all options alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbed:
    """How a search ended."""

    log_p: float | None
    """Natural logarithm of the probability of the first input found to show the event; None: none was found."""
    best_score: float
    """The highest score seen."""
    spent: int
    """Forwards."""


def climb(problem: Problem, budget: Budget, *, among: Among, n_chains: int = 64, seed: int = 0) -> Climbed:
    """Chains that change one choice at a time and never step down, until one shows the event or nothing is left."""
    if problem.event.is_smooth or n_chains < 1:
        raise ConfigError("climb needs an event that a score decides, and at least one chain")
    look, generator = Look(problem, budget), torch.Generator().manual_seed(seed)
    best = -math.inf
    try:
        rows_NC = draw(problem.inputs, n_chains, generator=generator)
        score_N = look.at(rows_NC, remember=False).score_N
        while True:
            best = max(best, float(score_N.max()))
            if best >= 0:
                found = log_prob(problem.inputs, rows_NC[[int(score_N.argmax())]])
                return Climbed(log_p=float(found), best_score=best, spent=look.ledger.spent)
            changed_NC = _changed(problem.inputs, rows_NC, among, generator)
            changed_N = look.at(changed_NC, remember=False).score_N
            better_N = changed_N >= score_N
            rows_NC = torch.where(better_N[:, None], changed_NC, rows_NC)
            score_N = torch.where(better_N, changed_N, score_N)
    except BudgetSpent:
        return Climbed(log_p=None, best_score=best, spent=look.ledger.spent)


def _changed(law: Law, rows_NC: Int[Tensor, "N C"], among: Among, generator: torch.Generator) -> Int[Tensor, "N C"]:
    """Each row with one choice drawn again."""
    free_M = free_choices(law)
    column_N = free_M[torch.randint(len(free_M), (len(rows_NC),), generator=generator)]
    new_NC = rows_NC.clone()
    for column in column_N.unique().tolist():
        here = (column_N == column).nonzero()[:, 0]
        log_p_K = law.log_p[column]
        weights_K = log_p_K.exp() if among == "ordinary" else torch.ones_like(log_p_K)
        new_NC[here, column] = torch.multinomial(weights_K, len(here), replacement=True, generator=generator)
    return new_NC
