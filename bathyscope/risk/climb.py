"""`climb`: the search of one who looks for single bad inputs: change a choice, keep what raises the score.

The baseline that `law_search` is compared with. It ends at the first input that shows the event, and says how likely
that input is: one that nobody would ever send is no finding about those who ask.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget, BudgetSpent
from bathyscope.risk.inputs.law import draw, draw_again, free_choices, log_prob
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
    law, best = problem.inputs, -math.inf
    free_M = free_choices(law)
    log_p = law.log_p if among == "ordinary" else tuple(torch.zeros_like(log_p) for log_p in law.log_p)
    try:
        rows_NC = draw(law, n_chains, generator=generator)
        score_N = look.at(rows_NC, remember=False).score_N
        while True:
            best = max(best, float(score_N.max()))
            if best >= 0:
                found = log_prob(law, rows_NC[[int(score_N.argmax())]])
                return Climbed(log_p=float(found), best_score=best, spent=look.ledger.spent)
            column_N = free_M[torch.randint(len(free_M), (n_chains,), generator=generator)]
            again_NC = torch.arange(rows_NC.shape[1]) == column_N[:, None]
            changed_NC = draw_again(log_p, rows_NC, again_NC, generator=generator)
            changed_N = look.at(changed_NC, remember=False).score_N
            better_N = changed_N >= score_N
            rows_NC = torch.where(better_N[:, None], changed_NC, rows_NC)
            score_N = torch.where(better_N, changed_N, score_N)
    except BudgetSpent:
        return Climbed(log_p=None, best_score=best, spent=look.ledger.spent)
