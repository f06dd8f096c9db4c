"""Fuzzing: does the description fit the marked tokens? (Paulo et al. 2024, arXiv 2410.13928)

Passages without firing get as many marks as one with firing has, at random places.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bathyscope.explanations.passages import Passage
from bathyscope.explanations.prompts import Prompt
from bathyscope.explanations.scores.detection import yes_or_no
from bathyscope.explanations.scores.measured import Measured, Statistic
from bathyscope.models.writers.writer import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Fuzzing:
    """One question per passage; the value is P(Yes) / (P(Yes) + P(No))."""

    judge: Judge
    prompt: Prompt
    seed: int = 0
    name: str = "fuzzing"
    statistics: tuple[Statistic, ...] = ("balanced accuracy", "AUC")
    reads_explanation: bool = True

    def measure(self, explanation: str, passages: Sequence[Passage]) -> list[Measured]:
        """Truth is 1 where the marked tokens are those that fire."""
        texts = [
            passage.marked(marks) for passage, marks in zip(passages, marks_of(passages, seed=self.seed), strict=True)
        ]
        prompts = [self.prompt.fill(explanation=explanation, text=text) for text in texts]
        return yes_or_no(self.judge, prompts, passages)


def marks_of(passages: Sequence[Passage], *, seed: int) -> list[tuple[bool, ...]]:
    """Which tokens of each passage are marked: those that fire, or as many random ones as the firing passages have."""
    counts = [sum(passage.marks) for passage in passages if passage.fires] or [1]
    found: list[tuple[bool, ...]] = []
    for number, passage in enumerate(passages):
        if passage.fires:
            found.append(passage.marks)
            continue
        rng = np.random.default_rng([seed, passage.feature, passage.token])
        length = len(passage.strings)
        chosen = rng.choice(length, size=min(length, counts[number % len(counts)]), replace=False)
        found.append(tuple(place in chosen for place in range(length)))
    return found
