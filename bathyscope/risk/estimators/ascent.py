"""`Ascents`: coordinate ascents from many starts. They find events of a few isolated inputs, which splitting can miss.

A chain goes over the free choices in an order of its own and takes for each the option that scores highest, all else
kept; inside the event the likeliest option that stays inside, so that it ends at an input that is likely, too: what
structural reliability calls a design point (Hasofer and Lind 1974). Where no single choice does better, it starts anew.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.risk.inputs.law import Law, Opened, draw, free_choices, log_prob
from bathyscope.risk.look import Look

OPEN = 0.5
"""Even part of the law that starts are drawn from: what takes options that are rare is found, too."""
IDLE = 20
"""Rounds in a row that saw nothing new after which there is nothing more to find."""
MOST_CHAINS = 8
PASSES = 2
"""Times that a chain usually goes over all choices before it ends: what it must be able to pay for."""
WIDTH = 48
"""Options of a choice that are tried at most: all where there are no more, else half by the law, half evenly."""


class Ascents:
    """Chains side by side: eight, or as many as the forwards in view pay for."""

    def __init__(self, look: Look, generator: torch.Generator, *, forward: float) -> None:
        self._look, self._generator = look, generator
        self._starts = Opened(law=look.problem.inputs, share=OPEN)
        self._free = free_choices(self._starts).tolist()
        self._hits: list[Tensor] = []
        widths = [min(len(self._starts.log_p[column]), WIDTH + 1) for column in self._free]
        self.n_payable = int(forward // (PASSES * max(sum(widths), 1)))
        """Whole chains, one after another, that the forwards in view pay for."""
        n_chains = max(1, min(MOST_CHAINS, self.n_payable))
        self._round = n_chains * max(widths, default=0)
        self._chains = [self._new_chain() for _ in range(n_chains)]
        self._n_idle = 0

    def step(self) -> None:
        """One choice of every chain."""
        tried = [chain.options(self._generator) for chain in self._chains]
        before = self._look.ledger.spent
        seen = self._look.at(torch.cat(tried))
        self._n_idle = self._n_idle + 1 if self._look.ledger.spent == before else 0
        merit_N = _merit(self._look.problem.inputs, torch.cat(tried), seen.score_N)
        self._hits.append(torch.cat(tried)[seen.score_N >= 0])
        for number, (rows_KC, merit_K) in enumerate(
            zip(tried, merit_N.split([len(own) for own in tried]), strict=True)
        ):
            if not self._chains[number].take(rows_KC, merit_K):
                self._chains[number] = self._new_chain()

    def goes_on(self, *, until: float) -> bool:
        """Whether there may be something new to see, and more forwards are left than `until` and than a round costs."""
        return bool(self._free) and self._look.room() > max(until, self._round) and self._n_idle < IDLE

    def hits(self) -> Int[Tensor, "H C"]:
        """Distinct rows seen to show the event."""
        nothing = torch.zeros(0, len(self._starts.log_p), dtype=torch.long)
        return torch.cat([nothing, *self._hits]).unique(dim=0)

    def _new_chain(self) -> "_Chain":
        order = torch.randperm(len(self._free), generator=self._generator).tolist()
        row_C = draw(self._starts, 1, generator=self._generator)[0]
        return _Chain(self._look.problem.inputs, row_C, [self._free[place] for place in order])


class _Chain:
    """One ascent; the row that it starts from is tried among the first options."""

    def __init__(self, law: Law, row_C: Int[Tensor, " C"], order: list[int]) -> None:
        self._law, self._row_C, self._order = law, row_C, order
        self._at = self._n_still = 0

    def options(self, generator: torch.Generator) -> Int[Tensor, "K C"]:
        """The row as it is, then with other options of the choice whose turn it is."""
        column = self._order[self._at]
        p_K = self._law.log_p[column].exp()
        chosen_K = torch.arange(len(p_K))
        if len(p_K) > WIDTH:
            likely = torch.multinomial(p_K, WIDTH // 2, replacement=False, generator=generator)
            even = torch.randint(len(p_K), (WIDTH // 2,), generator=generator)
            chosen_K = torch.cat([likely, even]).unique()
        others_K = chosen_K[chosen_K != self._row_C[column]]
        rows_KC = self._row_C.repeat(1 + len(others_K), 1)
        rows_KC[1:, column] = others_K
        return rows_KC

    def take(self, rows_KC: Int[Tensor, "K C"], merit_K: Float[Tensor, " K"]) -> bool:
        """Go to the best row; False when no choice does better."""
        best = int(merit_K.argmax())
        self._n_still = 1 if best else self._n_still + 1
        self._row_C = rows_KC[best]
        self._at = (self._at + 1) % len(self._order)
        return self._n_still < len(self._order)


def _merit(law: Law, rows_NC: Int[Tensor, "N C"], score_N: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The score outside the event; inside, where every row is better than any outside, how likely the row is."""
    return torch.where(score_N >= 0, log_prob(law, rows_NC).exp(), score_N)
