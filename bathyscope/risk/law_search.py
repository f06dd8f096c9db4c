"""`find_law`: a law of inputs, as near to the ordinary one as may be, under which a rare event is usual.

An input that shows the event says little; a law says what it takes: which choices, and which options of them. Found by
the cross-entropy method (Rubinstein 1997) from the ordinary law opened up towards level weights; then every choice that
the event does not need is given its ordinary law back. What the ordinary law makes of the event is estimated by
importance sampling from what was found.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget, BudgetSpent, Ledger
from bathyscope.risk.inputs.law import free_choices, log_prob
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem
from bathyscope.risk.tails import Weighed, clopper_pearson, weighed

Marginals = list[Float[Tensor, " _"]]
"""For each choice the probability of each option, float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LawSearch:
    """Settings of `find_law`."""

    n_round: int = 256
    """Inputs of each round."""
    elite: float = 0.1
    """Share of a round that the next law is fitted to."""
    openness: float = 0.5
    """Weight of level probabilities in the law that the search begins with; the rest is the ordinary law."""
    inertia: float = 0.3
    """Weight of the last law in the next one."""
    usual: float = 0.5
    """Share of hits at which the event counts as usual."""
    most_rounds: int = 30
    """Rounds before the search gives up."""
    n_check: int = 256
    """Inputs on which each claim about a law is checked, drawn anew."""
    n_weighed: int = 4096
    """Inputs of the last estimate."""

    def __post_init__(self) -> None:
        if min(self.n_round, self.most_rounds, self.n_check, self.n_weighed) < 10:
            raise ConfigError("n_round, most_rounds, n_check and n_weighed are at least 10")
        if not all(0 < share < 1 for share in (self.elite, self.openness, self.inertia, self.usual)):
            raise ConfigError("elite, openness, inertia and usual are shares within (0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundLaw:
    """A law under which the event is usual, and what was learnt on the way to it."""

    law: ProductTokens
    """The law; choices that the event does not need have their ordinary law."""
    changed: tuple[int, ...]
    """Numbers of the choices whose law is not the ordinary one."""
    log_rarity: float
    """How improbable it is that the changed choices fall on the options that the law prefers: log P, ordinary law."""
    p_found: float
    """Share of hits under the found law, on inputs drawn for this."""
    p_found_low: float
    """Lower end of its 95 % interval."""
    p_ordinary: Weighed
    """P(event) under the ordinary law, by importance sampling, 95 % interval."""
    spent: int
    """Forwards of the whole search."""


def find_law(problem: Problem, settings: LawSearch, budget: Budget, *, seed: int) -> FoundLaw | None:
    """The law, or None when the rounds or the budget end before the event is usual.

    Raises ConfigError for an event without a score and for inputs that are no independent tokens.
    """
    ordinary = problem.inputs
    if problem.event.is_smooth or not isinstance(ordinary, ProductTokens):
        raise ConfigError("find_law needs an event that a score decides, and independent positions of one token each")
    search = _Search(Look(problem, budget), ordinary, settings, torch.Generator().manual_seed(seed))
    try:
        return search.found()
    except BudgetSpent:
        return None


class _Search:
    """One search and what it has spent."""

    def __init__(self, look: Look, ordinary: ProductTokens, settings: LawSearch, generator: torch.Generator) -> None:
        self._look, self._ordinary, self._settings, self._generator = look, ordinary, settings, generator
        self._plain: Marginals = [log_p.exp() for log_p in ordinary.log_p]
        share = settings.openness
        self._open = [(1 - share) * p + share / len(p) if len(p) > 1 else p for p in self._plain]

    @property
    def ledger(self) -> Ledger:
        """What was spent so far."""
        return self._look.ledger

    def found(self) -> FoundLaw | None:
        """Rounds until the event is usual; then back to the ordinary law wherever it can be."""
        settings = self._settings
        law_C = self._open
        for _ in range(settings.most_rounds):
            rows_NC = self._drawn(law_C, settings.n_round)
            score_N = self._look.at(rows_NC).score_N
            if float((score_N >= 0).double().mean()) >= settings.usual:
                return self._report(self._simplified(law_C), [law_C, self._open])
            law_C = self._fitted(law_C, rows_NC, score_N)
        return None

    def _fitted(self, law_C: Marginals, rows_NC: Int[Tensor, "N C"], score_N: Float[Tensor, " N"]) -> Marginals:
        """The options of the best rows, and some of what was before."""
        best = score_N.argsort(descending=True)[: math.ceil(self._settings.elite * len(score_N))]
        new: Marginals = []
        for p, column_N in zip(law_C, rows_NC[best].unbind(1), strict=True):
            counted = torch.bincount(column_N, minlength=len(p)).double() / len(best)
            new.append((1 - self._settings.inertia) * counted + self._settings.inertia * p)
        return new

    def _simplified(self, law_C: Marginals) -> Marginals:
        """Each choice's ordinary law given back in turn, the least changed first, where the event stays usual."""
        free = free_choices(self._ordinary).tolist()
        for choice in sorted(free, key=lambda number: _distance(law_C[number], self._plain[number])):
            without = [self._plain[number] if number == choice else p for number, p in enumerate(law_C)]
            if self._rate(without) >= self._settings.usual:
                law_C = without
        return law_C

    def _report(self, law_C: Marginals, before: list[Marginals]) -> FoundLaw:
        settings = self._settings
        changed = tuple(n for n in free_choices(self._ordinary).tolist() if law_C[n] is not self._plain[n])
        hits = round(self._rate(law_C) * settings.n_check)
        law = dataclasses.replace(self._ordinary, log_p=tuple(p.log() for p in law_C), name="found")
        rarity = sum(
            math.log(float(self._plain[number][law_C[number] > self._plain[number]].sum())) for number in changed
        )
        return FoundLaw(
            law=law,
            changed=changed,
            log_rarity=rarity,
            p_found=hits / settings.n_check,
            p_found_low=clopper_pearson(hits, settings.n_check, level=0.95)[0],
            p_ordinary=self._weighed([self._plain, law_C, *before]),
            spent=self.ledger.spent,
        )

    def _weighed(self, laws: list[Marginals]) -> Weighed:
        """P(event) under the ordinary law: importance sampling from several laws, alike (the balance heuristic).

        The found law alone would do for what it is about and miss every other way to the event.
        """
        n = self._settings.n_weighed
        number_N = torch.arange(n) % len(laws)
        rows_LNC = torch.stack([self._drawn(law_C, n) for law_C in laws])
        rows_NC = rows_LNC[number_N, torch.arange(n)]
        hit_N = self._look.at(rows_NC).value_N > 0
        log_q_N = torch.stack([_log_prob(law_C, rows_NC) for law_C in laws]).logsumexp(0) - math.log(len(laws))
        log_w_N = log_prob(self._ordinary, rows_NC) - log_q_N
        return weighed(log_w_N[hit_N].numpy(), n, level=0.95)

    def _rate(self, law_C: Marginals) -> float:
        rows_NC = self._drawn(law_C, self._settings.n_check)
        return float(self._look.at(rows_NC).value_N.mean())

    def _drawn(self, law_C: Marginals, n: int) -> Int[Tensor, "N C"]:
        return torch.stack([torch.multinomial(p, n, True, generator=self._generator) for p in law_C], dim=1)


def _distance(p: Float[Tensor, " _"], plain: Float[Tensor, " _"]) -> float:
    """Total variation."""
    return float((p - plain).abs().sum()) / 2


def _log_prob(law_C: Marginals, rows_NC: Int[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """log ∏_i p_i(x_i); minus infinity where an option has been given up."""
    parts = [p.log()[column_N] for p, column_N in zip(law_C, rows_NC.unbind(1), strict=True)]
    return torch.stack(parts).sum(0)
