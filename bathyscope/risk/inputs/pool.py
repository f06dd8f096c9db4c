"""`Pool`: one of a list of prompts, each with its weight: what is known of how a model is asked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs
from bathyscope.models.prompts import prompt_tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """One choice among prompts; `prompt_pool` makes one from texts."""

    prompts: tuple[tuple[int, ...], ...]
    """Token ids of each prompt, at least one."""
    log_p: tuple[Float[Tensor, " _"], ...]
    """One tensor: natural logarithm of each prompt's probability, float64."""
    name: str = "pool"
    """What the law is called in reports."""

    def __post_init__(self) -> None:
        if not self.prompts or not all(self.prompts):
            raise ConfigError(f"{self.name}: expected at least one prompt, each of at least one token")
        if [len(log_p_K) for log_p_K in self.log_p] != [len(self.prompts)]:
            raise ConfigError(f"{self.name}: expected one tensor with a log-probability for each prompt")

    def rows(self, choices_NC: Int[Tensor, "N C"]) -> list[list[int]]:
        """The token ids of each chosen prompt."""
        return [list(self.prompts[number]) for number in choices_NC[:, 0].tolist()]

    def inputs(self, model: Model, choices_NC: Int[Tensor, "N C"]) -> Mapping[str, Any]:
        """`input_ids`, mask and positions, padded on the left."""
        return padded_inputs(model, self.rows(choices_NC))


def prompt_pool(
    model: Model,
    prompts: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    chat: bool | None = None,
    system: str | None = None,
    name: str = "pool",
) -> Pool:
    """The pool of these texts, equally likely without `weights`; `chat` and `system` as in `generate`."""
    if isinstance(prompts, str):
        raise ConfigError("prompts must be a list of texts, found one text; write [prompt]")
    rows = tuple(tuple(prompt_tokens(model, prompt, chat=chat, system=system)) for prompt in prompts)
    return Pool(prompts=rows, log_p=(log_shares(weights or [1.0] * len(rows), len(rows), name),), name=name)


def log_shares(weights: Sequence[float], n: int, name: str) -> Float[Tensor, " K"]:
    """Natural logarithms of weights that are made to sum to 1. Raises ConfigError for other than `n` positive ones."""
    if n == 0:
        raise ConfigError(f"{name}: there is nothing to choose from; give at least one text")
    if len(weights) != n:
        raise ConfigError(f"{name}: {len(weights)} weights were given, expected {n}, one for each text")
    strange = [weight for weight in weights if not 0 < weight < math.inf]
    if strange:
        raise ConfigError(f"{name}: a weight is {strange[0]}, expected a positive number; leave out what cannot occur")
    weight_K = torch.tensor(list(weights), dtype=torch.float64)
    return (weight_K / weight_K.sum()).log()
