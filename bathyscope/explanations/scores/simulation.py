"""Simulation: the judge estimates each token's strength from the description (Bills et al. 2023).

All tokens of a passage are read at once, and no estimate is seen by the next one. The value at a token is the expected
digit, Σ d · p(d) over 0 … 9, from the probabilities of the next token; a judge that tells none writes the digits.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bathyscope.explanations.passages import Passage
from bathyscope.explanations.prompts import Prompt
from bathyscope.explanations.scores.detection import DIGITS
from bathyscope.explanations.scores.measured import Measured, Statistic, measured
from bathyscope.models.writers.writer import Judge, Question, Verdict

LEVELS = tuple("0123456789")
"""Ten strengths, so that each is a single token."""
SIGN, UNKNOWN = ":", "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """One question per passage, with a place behind each token."""

    judge: Judge
    prompt: Prompt
    name: str = "simulation"
    statistics: tuple[Statistic, ...] = ("correlation",)
    reads_explanation: bool = True

    def measure(self, explanation: str, passages: Sequence[Passage]) -> list[Measured]:
        """Truth is the feature's activation at each token, as a share of its maximum."""
        shown = [[shown_token(string) for string in passage.strings] for passage in passages]
        prompt = self.prompt.fill(explanation=explanation)
        if self.judge.fills:
            pieces = [tuple(f"{token}{SIGN}" for token in tokens) for tokens in shown]
            questions = [Question(prompt=prompt, choices=LEVELS, pieces=each, filler=UNKNOWN) for each in pieces]
            values = [expected(verdict) for verdict in self.judge.choose(questions)]
        else:
            answers = self.judge.write([f"{prompt}\n{listed(tokens)}" for tokens in shown])
            values = [parsed(answer.text, len(tokens)) for answer, tokens in zip(answers, shown, strict=True)]
        return [
            measured(passage, tuple(value / max(passage.maximum, 1e-12) for value in passage.values), value)
            for passage, value in zip(passages, values, strict=True)
        ]


def shown_token(string: str) -> str:
    """The token on one line; one that is nothing but space still has a sign."""
    return string.replace("\r", "").replace("\n", "⏎") or "·"


def listed(tokens: Sequence[str]) -> str:
    """What a judge is asked who writes the digits."""
    return "\n".join(f"{token}{SIGN}{UNKNOWN}" for token in tokens) + "\nAnswer with the same lines, digits filled in."


def expected(verdict: Verdict) -> tuple[float, ...] | None:
    """The expected digit at each place."""
    if verdict.p is None or any(sum(p) <= 0 for p in verdict.p):
        return None
    levels = (sum(level * p for level, p in enumerate(place)) / sum(place) for place in verdict.p)
    return tuple(round(level, DIGITS) for level in levels)


def parsed(text: str, n_tokens: int) -> tuple[float, ...] | None:
    """The digits that stand behind the tokens; None unless there are as many as tokens."""
    digits = re.findall(rf"{re.escape(SIGN)}\s*([0-9])\s*$", text, flags=re.MULTILINE)
    return tuple(float(digit) for digit in digits) if len(digits) == n_tokens else None
