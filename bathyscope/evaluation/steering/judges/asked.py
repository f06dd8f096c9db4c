"""`AskedJudge`: a language model is asked for a digit, and its probabilities of 0, 1 and 2 are the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from bathyscope.evaluation.steering.answers import SteeredAnswer
from bathyscope.evaluation.steering.judges.judge import Aspect, Known
from bathyscope.evaluation.steering.prompts import prompt
from bathyscope.models.writers.prompt import Prompt
from bathyscope.models.writers.writer import Judge, Question

CHOICES = ("0", "1", "2")
LEAST_MASS = 0.05
"""A judge that gives all digits together less than this has not answered."""


@dataclass(frozen=True, slots=True)
class KnownText:
    """A text of which the answer is known."""

    answer: SteeredAnswer
    is_true: bool
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedJudge:
    """Rating: the likeliest of three digits as the next token."""

    judge: Judge
    aspect: Aspect
    descriptions: dict[str, str]
    """Concept → what the model is told it is."""
    known: Sequence[KnownText]
    """What it is calibrated on."""
    prompt: Prompt | None = None
    """What it is asked; None is the library's own prompt."""

    @property
    def name(self) -> str:
        """What was asked."""
        return str(self.judge.identity.get("name", "asked"))

    def rate(self, answers: Sequence[SteeredAnswer]) -> list[int | None]:
        """0, 1 or 2 for each answer. Raises ModelError when the judge cannot be reached."""
        text = self.prompt or prompt(self.aspect)
        questions = [Question(prompt=text.fill(**self._places(answer)), choices=CHOICES) for answer in answers]
        return [_rating(verdict.p) for verdict in self.judge.choose(questions)]

    def calibration(self) -> list[Known]:
        """What it says of the known texts."""
        ratings = self.rate([each.answer for each in self.known])
        return [
            Known(is_true=each.is_true, rating=rating, group=each.group)
            for each, rating in zip(self.known, ratings, strict=True)
        ]

    def _places(self, answer: SteeredAnswer) -> dict[str, str]:
        return {
            "description": self.descriptions.get(answer.concept, answer.concept),
            "instruction": answer.prompt,
            "text": " ".join(answer.text.split()),
        }


def _rating(p: tuple[tuple[float, ...], ...] | None) -> int | None:
    if p is None or sum(p[0]) < LEAST_MASS:
        return None
    return max(range(len(CHOICES)), key=lambda digit: p[0][digit])
