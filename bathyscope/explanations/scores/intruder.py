"""Intruder: which of these passages does not belong? It measures the feature, not the words: none are shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bathyscope.explanations.passages import FIRING, Passage
from bathyscope.explanations.prompts import Prompt
from bathyscope.explanations.scores.detection import shares
from bathyscope.explanations.scores.fuzzing import marks_of
from bathyscope.explanations.scores.measured import Measured, Statistic, measured
from bathyscope.models.writers.writer import Judge, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Intruder:
    """Trials of `n_passages`, all but one from one interval; chance is 1 / `n_passages`."""

    judge: Judge
    prompt: Prompt
    n_passages: int = 5
    seed: int = 0
    name: str = "intruder"
    statistics: tuple[Statistic, ...] = ("accuracy",)
    reads_explanation: bool = False

    def measure(self, explanation: str, passages: Sequence[Passage]) -> list[Measured]:
        """Truth is 1, the value 1 where the likeliest number is the intruder's; a row bears the intruder's document."""
        del explanation
        trials = list(self._trials(passages))
        choices = tuple(str(number + 1) for number in range(self.n_passages))
        verdicts = self.judge.choose([Question(prompt=text, choices=choices) for text, _, _ in trials])
        rows: list[Measured] = []
        for (_, intruder, place), verdict in zip(trials, verdicts, strict=True):
            p = shares(verdict)
            rows.append(measured(intruder, (1.0,), None if p is None else (float(max(p) == p[place]),)))
        return rows

    def _trials(self, passages: Sequence[Passage]) -> list[tuple[str, Passage, int]]:
        """Text of each trial, its intruder and the intruder's place."""
        marks = dict(zip([p.token for p in passages], marks_of(passages, seed=self.seed), strict=True))
        quiet = [passage for passage in passages if not passage.fires]
        found: list[tuple[str, Passage, int]] = []
        for group in FIRING:
            own = [passage for passage in passages if passage.group == group]
            size = self.n_passages - 1
            for first in range(0, len(own) - size + 1, size):
                if not quiet:
                    break
                intruder = quiet.pop(0)
                place = int(np.random.default_rng([self.seed, intruder.token]).integers(self.n_passages))
                shown = own[first : first + size]
                shown.insert(place, intruder)
                lines = [f"{number}: {p.marked(marks[p.token])}" for number, p in enumerate(shown, start=1)]
                found.append((self.prompt.fill(passages="\n".join(lines)), intruder, place))
        return found
