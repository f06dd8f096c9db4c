"""Surprisal: does the subject model itself find the passage likelier once it has read the description?

value = mean over the passage's tokens of log p(token | "Description: E" …) − log p(token | "Description: any text." …)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bathyscope.explanations.passages import Passage
from bathyscope.explanations.scores.measured import Measured, Statistic, measured
from bathyscope.models.log_probs import log_probs
from bathyscope.models.model import Model
from bathyscope.models.prompts import text_tokens

NEUTRAL = "any text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprisal:
    """Needs no judge; in nats per token."""

    model: Model
    """The model that the features belong to."""
    name: str = "surprisal"
    statistics: tuple[Statistic, ...] = ("AUC",)
    reads_explanation: bool = True

    def measure(self, explanation: str, passages: Sequence[Passage]) -> list[Measured]:
        """Truth is 1 where the feature fires."""
        gains = [self._gain(explanation, passage) for passage in passages]
        return [measured(p, (float(p.fires),), (gain,)) for p, gain in zip(passages, gains, strict=True)]

    def _gain(self, explanation: str, passage: Passage) -> float:
        text = [int(t) for t in self.model.tokenizer(f" {passage.text}", add_special_tokens=False)["input_ids"]]
        heads = [text_tokens(self.model, f"Description: {words}.\nText:") for words in (explanation, NEUTRAL)]
        told, untold = log_probs(self.model, [[*head, *text] for head in heads])
        return float(told[-len(text) :].mean() - untold[-len(text) :].mean())
