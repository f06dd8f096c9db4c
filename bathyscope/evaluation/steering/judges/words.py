"""`WordsJudge`: an answer is about a concept when it says the concept's words. Anyone can check it by eye."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bathyscope.errors import ConfigError
from bathyscope.evaluation.definitions import Definition
from bathyscope.evaluation.steering.answers import SteeredAnswer
from bathyscope.evaluation.steering.judges.judge import BEST, Aspect, Known


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsJudge:
    """Rating: how many different words of the concept's list stand in the answer, two at most.

    A `*` at the end of a word stands for any ending. Upper and lower case are one.
    """

    definitions: Mapping[str, Definition]
    """Concept → its words, and sentences with and without it for the calibration."""
    name: str = "words"
    aspect: Aspect = "concept"

    def __post_init__(self) -> None:
        for concept, definition in self.definitions.items():
            if not definition.words:
                raise ConfigError(
                    f"[{concept}] has no `words`, by which answers are judged; add some to its definition"
                )

    def rate(self, answers: Sequence[SteeredAnswer]) -> list[int | None]:
        """0, 1 or 2 different words."""
        return [self._rating(answer.concept, answer.text) for answer in answers]

    def calibration(self) -> list[Known]:
        """The sentences of all concepts; none of them made the list."""
        return [
            Known(is_true=example.label, rating=self._rating(concept, example.text), group=f"{concept} {example.group}")
            for concept, definition in self.definitions.items()
            for example in definition.labelled.examples
        ]

    def _rating(self, concept: str, text: str) -> int:
        hits = {number for number, word in enumerate(self.definitions[concept].words) if pattern(word).search(text)}
        return min(len(hits), BEST)


def pattern(word: str) -> re.Pattern[str]:
    """What finds the word in a text: whole, or with any ending where it ends in `*`."""
    ending = r"\w*" if word.endswith("*") else ""
    return re.compile(rf"\b{re.escape(word.removesuffix('*'))}{ending}\b", re.IGNORECASE)
