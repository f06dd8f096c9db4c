"""`Law`: independent choices, each with its own list of options, and the tokens that they make.

A position of a sequence is one choice among tokens, a slot of a template one choice among texts, a pool of prompts one
choice among prompts. Estimators see choices, the model sees tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.models.model import Model


@runtime_checkable
class Law(Protocol):
    """What every law of independent choices gives."""

    @property
    def name(self) -> str:
        """What the law is called in reports."""
        ...

    @property
    def log_p(self) -> tuple[Float[Tensor, " _"], ...]:
        """For each choice the natural logarithm of each option's probability, float64."""
        ...

    def rows(self, choices_NC: Int[Tensor, "N C"]) -> list[list[int]]:
        """The token ids that each row of choices stands for."""
        ...

    def inputs(self, model: Model, choices_NC: Int[Tensor, "N C"]) -> Mapping[str, Any]:
        """Keyword inputs of the network for these choices; the last column is the last token of every row."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A law with some of its weight spread evenly over each choice's options: what is rare under the law is not."""

    law: Law
    """The law that is opened."""
    share: float
    """Weight of the even part, within (0, 1)."""
    log_p: tuple[Float[Tensor, " _"], ...] = field(init=False)
    """For each choice the natural logarithm of each option's probability, float64; made once."""

    def __post_init__(self) -> None:
        opened = tuple(
            ((1 - self.share) * log_p.exp() + self.share / len(log_p)).log() if len(log_p) > 1 else log_p
            for log_p in self.law.log_p
        )
        object.__setattr__(self, "log_p", opened)

    @property
    def name(self) -> str:
        """The law's own, and that it is opened."""
        return f"{self.law.name}, opened"

    def rows(self, choices_NC: Int[Tensor, "N C"]) -> list[list[int]]:
        """The law's own."""
        return self.law.rows(choices_NC)

    def inputs(self, model: Model, choices_NC: Int[Tensor, "N C"]) -> Mapping[str, Any]:
        """The law's own."""
        return self.law.inputs(model, choices_NC)


def draw(law: Law, n: int, *, generator: torch.Generator) -> Int[Tensor, "N C"]:
    """`n` independent rows of choices."""
    columns = [torch.multinomial(log_p.exp(), n, replacement=True, generator=generator) for log_p in law.log_p]
    return torch.stack(columns, dim=1)


def draw_again(
    log_p: Sequence[Float[Tensor, " _"]],
    rows_NC: Int[Tensor, "N C"],
    again_NC: Bool[Tensor, "N C"],
    *,
    generator: torch.Generator,
) -> Int[Tensor, "N C"]:
    """The rows with the marked choices drawn again, column after column, each from its own logarithms (any sum)."""
    new_NC = rows_NC.clone()
    for column in again_NC.any(0).nonzero()[:, 0].tolist():
        here_M = again_NC[:, column].nonzero()[:, 0]
        weights_K = log_p[column].exp()
        new_NC[here_M, column] = torch.multinomial(weights_K, len(here_M), replacement=True, generator=generator)
    return new_NC


def log_prob(law: Law, choices_NC: Int[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """Natural logarithm of each row's probability, float64."""
    total_N = torch.zeros(len(choices_NC), dtype=torch.float64)
    for log_p, chosen_N in zip(law.log_p, choices_NC.unbind(1), strict=True):
        total_N += log_p[chosen_N]
    return total_N


def free_choices(law: Law) -> Int[Tensor, " M"]:
    """Numbers of the choices that have more than one option."""
    return torch.tensor([number for number, log_p in enumerate(law.log_p) if len(log_p) > 1], dtype=torch.long)
