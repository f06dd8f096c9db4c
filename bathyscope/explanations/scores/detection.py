"""Detection: does the description fit the passage? The judge sees plain text (Paulo et al. 2024, arXiv 2410.13928)."""

from collections.abc import Sequence
from dataclasses import dataclass

from bathyscope.explanations.passages import Passage
from bathyscope.explanations.prompts import Prompt
from bathyscope.explanations.scores.measured import Measured, Statistic, measured
from bathyscope.models.writers.writer import Judge, Question, Verdict

YES_NO = ("Yes", "No")
LEAST_MASS = 0.05
"""A judge that gives all choices together less than this has not answered."""
DIGITS = 4
"""Decimals that are kept: what a judge has read before moves the later ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One question per passage; the value is P(Yes) / (P(Yes) + P(No))."""

    judge: Judge
    prompt: Prompt
    name: str = "detection"
    statistics: tuple[Statistic, ...] = ("balanced accuracy", "AUC")
    reads_explanation: bool = True

    def measure(self, explanation: str, passages: Sequence[Passage]) -> list[Measured]:
        """Truth is 1 where the feature fires."""
        prompts = [self.prompt.fill(explanation=explanation, text=passage.text) for passage in passages]
        return yes_or_no(self.judge, prompts, passages)


def yes_or_no(judge: Judge, prompts: Sequence[str], passages: Sequence[Passage]) -> list[Measured]:
    """A row for each passage, from one question about each."""
    verdicts = judge.choose([Question(prompt=prompt, choices=YES_NO) for prompt in prompts])
    return [
        measured(passage, (float(passage.fires),), p if p is None else p[:1])
        for passage, p in zip(passages, map(shares, verdicts), strict=True)
    ]


def shares(verdict: Verdict) -> tuple[float, ...] | None:
    """The choices' probabilities at the only place, scaled to sum to 1; None where the judge chose none of them."""
    if verdict.p is None or sum(verdict.p[0]) < LEAST_MASS:
        return None
    total = sum(verdict.p[0])
    return tuple(round(p / total, DIGITS) for p in verdict.p[0])
