"""`Writing`: a law of token sequences that are written one token after another, such as a model's answers.

No product of independent choices: what can be done is to write, to write the end anew, and to say how likely a row was.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.models.continuations import BEHIND
from bathyscope.risk.inputs.law import Law


class Written(NamedTuple):
    """Rows that were written."""

    choices_NC: Int[Tensor, "N C"]
    """Choices of the law of prompts, in front of what was written."""
    tokens_NL: Int[Tensor, "N L"]
    """Written token ids; `BEHIND` behind the end of a row."""
    log_p_NL: Float[Tensor, "N L"]
    """Natural logarithm of each token's probability under the law that wrote it, float64; 0 behind the end."""

    @property
    def length_N(self) -> Int[Tensor, " N"]:
        """Written tokens of each row."""
        return (self.tokens_NL != BEHIND).sum(1)

    @property
    def log_p_N(self) -> Float[Tensor, " N"]:
        """Natural logarithm of each row's probability, given its prompt, under the law that wrote it."""
        return self.log_p_NL.sum(1)

    def at(self, places: Int[Tensor, " M"] | slice) -> "Written":
        """Some of the rows."""
        return Written(*(part[places] for part in self))

    def where(self, is_new_N: Bool[Tensor, " N"], new: "Written") -> "Written":
        """The rows of `new` where it says so, these ones elsewhere."""
        return Written(*(torch.where(is_new_N[:, None], b, a) for a, b in zip(self, new, strict=True)))


class Answer(NamedTuple):
    """A prompt and what was written behind it."""

    prompt: tuple[int, ...]
    """Token ids, chat template included."""
    tokens: tuple[int, ...]
    """Written token ids, the stop token included."""
    text: str
    """The written tokens as text, without special ones."""


@runtime_checkable
class Writing(Protocol):
    """What every law of written sequences gives."""

    @property
    def name(self) -> str:
        """What the law is called in reports."""
        ...

    @property
    def prompts(self) -> Law:
        """What stands in front of what is written."""
        ...

    @property
    def n_tokens(self) -> int:
        """L, most tokens of a row."""
        ...

    def write(self, choices_NC: Int[Tensor, "N C"], generator: torch.Generator) -> Written:
        """A row behind each of these prompts."""
        ...

    def rewrite(self, written: Written, cut: int, generator: torch.Generator) -> Written:
        """The rows with all from token `cut` on written anew; a row that ends before it stays as it is."""
        ...

    def log_prob(self, written: Written) -> Float[Tensor, " N"]:
        """Natural logarithm of each row's probability given its prompt, float64, whoever wrote it."""
        ...

    def answers(self, written: Written) -> list[Answer]:
        """The rows as prompts and texts."""
        ...


def joined(parts: Sequence[Written]) -> Written:
    """All rows in order."""
    return Written(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))
