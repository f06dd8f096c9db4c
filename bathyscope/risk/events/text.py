"""Events on written text: a pattern occurs in it, a judge scores it, or another model reacts to it.

The same event takes answers that were drawn (a `WrittenProblem`), and, as an event of a `Problem`, the greedy answer to
each input.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.evaluation.steering.judges.words import pattern
from bathyscope.models.decoding import Draw
from bathyscope.models.generate import answer_rows
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs
from bathyscope.models.prompts import stop_tokens
from bathyscope.risk.events.event import Event, Outcome
from bathyscope.risk.events.logit import decided
from bathyscope.risk.inputs.writing import Answer


@runtime_checkable
class TextEvent(Protocol):
    """What every event on written text gives."""

    is_smooth: ClassVar[bool]
    """Whether a text has a probability of the event rather than a verdict."""

    @property
    def name(self) -> str:
        """What the event is called in reports."""
        ...

    @property
    def n_forwards(self) -> int:
        """Forwards that the verdict on one text costs."""
        ...

    def of_answers(self, answers: Sequence[Answer]) -> Outcome:
        """Scores and values of texts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMatches:
    """A function says yes to the text. Score: 0 for yes, -1 for no."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = False
    n_forwards: ClassVar[int] = 0

    matches: Callable[[str], bool]
    """Text → verdict; `text_matcher` makes one from a few words."""
    label: str
    """What the event is called in reports."""
    n_generated: int = 16
    """Most tokens of the greedy answer, where the event judges one."""

    def __post_init__(self) -> None:
        _require_tokens(self.n_generated)

    @property
    def name(self) -> str:
        """The label."""
        return self.label

    def of_answers(self, answers: Sequence[Answer]) -> Outcome:
        """Verdicts."""
        yes = [bool(self.matches(answer.text)) for answer in answers]
        return decided(torch.tensor(yes, dtype=torch.float64) - 1)

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Verdicts on the greedy answers."""
        return self.of_answers(greedy_answers(model, inputs, self.n_generated))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A function's score of the text reaches a threshold. Score: the difference."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = False
    n_forwards: ClassVar[int] = 0

    judge: Callable[[str], float]
    """Text → score from 0 to 1; what it costs is not counted."""
    label: str
    """What the event is called in reports."""
    threshold: float = 0.5
    """Least score that counts."""
    n_generated: int = 16
    """Most tokens of the greedy answer, where the event judges one."""

    def __post_init__(self) -> None:
        _require_tokens(self.n_generated)

    @property
    def name(self) -> str:
        """Such as `anger >= 0.5`."""
        return f"{self.label} >= {self.threshold:g}"

    def of_answers(self, answers: Sequence[Answer]) -> Outcome:
        """Scores beyond the threshold, and verdicts. Raises ConfigError for a score outside [0, 1]."""
        scores = [float(self.judge(answer.text)) for answer in answers]
        strange = [score for score in scores if math.isnan(score) or not 0 <= score <= 1]
        if strange:
            raise ConfigError(f"the judge {self.label} gave {strange[0]}, expected a score from 0 to 1")
        return decided(torch.tensor(scores, dtype=torch.float64) - self.threshold)

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Scores of the greedy answers."""
        return self.of_answers(greedy_answers(model, inputs, self.n_generated))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBy:
    """Another event, of a model that is given prompt and written text as its input."""

    model: Model
    """Who reads; its tokenizer must be the writer's, for token ids are handed over."""
    event: Event
    """What its reaction must be to count."""

    n_forwards: ClassVar[int] = 1

    @property
    def is_smooth(self) -> bool:
        """As the other event."""
        return self.event.is_smooth

    @property
    def name(self) -> str:
        """Such as `argmax = 17 of smollm2`."""
        return f"{self.event.name} of {self.model.name}"

    @torch.no_grad()
    def of_answers(self, answers: Sequence[Answer]) -> Outcome:
        """What the reader makes of them."""
        rows = [(*answer.prompt, *answer.tokens) for answer in answers]
        outcome = self.event.outcome(self.model, padded_inputs(self.model, rows))
        return Outcome(outcome.score_B.double().cpu(), outcome.value_B.double().cpu())


def text_matcher(rule: str) -> Callable[[str], bool]:
    """What a rule of one line says of a text: no code is run.

    `words:whale*,sea`: one of the words occurs whole (`*`: any ending), in upper or lower case. `contains:sea`: these
    letters occur. `regex:^No`: the regular expression is found. Raises ConfigError for anything else.
    """
    kind, _, what = rule.partition(":")
    if not what:
        raise ConfigError(f"{rule!r} is no rule for text; expected words:…, contains:… or regex:…")
    match kind:
        case "words":
            words = [word.strip() for word in what.split(",")]
            if not all(word.strip("*") for word in words):
                raise ConfigError(f"{rule!r} has a word without a letter, which every text holds; strike it out")
            patterns = [pattern(word) for word in words]
            return lambda text: any(each.search(text) for each in patterns)
        case "contains":
            return lambda text: what in text
        case "regex":
            try:
                compiled = re.compile(what)
            except re.error as error:
                raise ConfigError(f"{what!r} is no regular expression: {error}") from error
            return lambda text: compiled.search(text) is not None
        case _:
            raise ConfigError(f"{rule!r} is no rule for text; expected words:…, contains:… or regex:…")


def greedy_answers(model: Model, inputs: Mapping[str, Any], n_tokens: int) -> list[Answer]:
    """The greedy answer of at most `n_tokens` tokens to each row of `inputs` (token ids, padded on the left or not)."""
    prompts = _unpadded(inputs["input_ids"], inputs.get("attention_mask"))
    rows = answer_rows(model, prompts, max_new_tokens=n_tokens, draws=[Draw()] * len(prompts), stops=stop_tokens(model))
    texts = [str(model.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]
    return [Answer(tuple(p), tuple(row), text) for p, row, text in zip(prompts, rows, texts, strict=True)]


def _require_tokens(n_generated: int) -> None:
    if n_generated < 1:
        raise ConfigError(f"an answer of {n_generated} tokens is none to judge; expected at least 1")


def _unpadded(tokens_BS: Int[Tensor, "B S"], mask_BS: Tensor | None) -> list[list[int]]:
    if mask_BS is None:
        return tokens_BS.tolist()
    return [row[is_real].tolist() for row, is_real in zip(tokens_BS, mask_BS.bool(), strict=True)]
