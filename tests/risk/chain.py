"""A law of texts that can be written out: a 3-state Markov chain of 6 steps, all 729 texts with their probabilities."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch

from bathyscope.models.continuations import BEHIND
from bathyscope.risk.inputs.pool import Pool
from bathyscope.risk.inputs.writing import Answer, Written

LETTERS = "abc"
START = (0.7, 0.2, 0.1)
STEP = ((0.7, 0.2, 0.1), (0.4, 0.4, 0.2), (0.35, 0.35, 0.3))
TOWARDS_C = ((0.4, 0.2, 0.4), (0.2, 0.3, 0.5), (0.2, 0.2, 0.6))


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """Writes letters; `ends` makes the letter b the last one of its text."""

    step: tuple = STEP
    start: tuple = START
    n_tokens: int = 6
    ends: bool = False
    name: str = "chain"
    prompts: ClassVar[Pool] = Pool(prompts=((0,),), log_p=(torch.zeros(1, dtype=torch.float64),))

    def write(self, choices_NC, generator):
        n = len(choices_NC)
        empty = Written(choices_NC, torch.full((n, 6), BEHIND), torch.zeros(n, 6, dtype=torch.float64))
        return self.rewrite(empty._replace(tokens_NL=empty.tokens_NL.clamp(min=0)), 0, generator)

    def rewrite(self, written, cut, generator):
        tokens_NL, log_p_NL = written.tokens_NL.clone(), written.log_p_NL.clone()
        going_N = written.length_N > cut
        for place in range(cut, self.n_tokens):
            p_N3 = self._next(tokens_NL, place)
            drawn_N = torch.multinomial(p_N3, 1, generator=generator)[:, 0]
            tokens_NL[:, place] = torch.where(going_N, drawn_N, tokens_NL[:, place] if place == cut else BEHIND)
            log_p_NL[:, place] = torch.where(going_N, p_N3.gather(1, drawn_N[:, None])[:, 0].log(), 0)
            if self.ends:
                going_N = going_N & (tokens_NL[:, place] != 1)
        stays_N = written.length_N <= cut
        new = Written(written.choices_NC, tokens_NL, log_p_NL)
        return new.where(stays_N, written)

    def log_prob(self, written):
        total_N = torch.zeros(len(written.tokens_NL), dtype=torch.float64)
        for place in range(self.n_tokens):
            token_N = written.tokens_NL[:, place]
            p_N = self._next(written.tokens_NL, place).gather(1, token_N.clamp(min=0)[:, None])[:, 0]
            total_N += torch.where(token_N == BEHIND, 0, p_N.log())
        return total_N

    def answers(self, written):
        rows = [[token for token in row if token != BEHIND] for row in written.tokens_NL.tolist()]
        return [Answer((0,), tuple(row), "".join(LETTERS[token] for token in row)) for row in rows]

    def truth(self, is_event):
        """P(event), from all texts."""
        total = 0.0
        for row in itertools.product(range(3), repeat=6):
            text, p, before = "", 1.0, None
            for token in row:
                p *= (self.start if before is None else self.step[before])[token]
                text += LETTERS[token]
                before = token
            if self.ends and "b" in text:  # the rest of the row is summed over by its first letters
                text = text[: text.index("b") + 1]
            total += p * is_event(text)
        return total

    def _next(self, tokens_NL, place):
        n = len(tokens_NL)
        if place == 0:
            return torch.tensor(self.start, dtype=torch.float64).expand(n, 3)
        return torch.tensor(self.step, dtype=torch.float64)[tokens_NL[:, place - 1].clamp(min=0)]
