"""How much an operation raises tokens on a fixed plain answer, beyond a random direction that moves just as far."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from bathyscope.models.generate import generate
from bathyscope.models.model import Model
from bathyscope.steering.effects import Effect, Text, answer_log_probs, effects
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.steer import steer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Unsteered answers and the model's own log-probabilities on them."""

    texts: Sequence[Text]
    log_probs: Sequence[Float[Tensor, "_ V"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What an operation does on plain answers, the mean over them."""

    value: float
    """Shift of log P(target tokens) minus the same under a random direction of equal length, in nats."""
    kl: float
    """KL to the unsteered model, in nats per token."""


def plain_answers(model: Model, prompts: Sequence[str], *, max_new_tokens: int, seed: int) -> Plain:
    """The answers to read again under each operation."""
    answers = generate(model, prompts, max_new_tokens=max_new_tokens, seed=seed)
    texts = [(answer.prompt_tokens, answer.tokens) for answer in answers]
    return Plain(texts=texts, log_probs=answer_log_probs(model, texts))


def gain(model: Model, operation: Operation, plain: Plain, *, targets: Sequence[int], seed: int) -> Gain:
    """The gain of `operation`; `seed` draws the random direction."""
    found: list[list[Effect]] = []
    for tried in (operation, RandomDirection(operation, seed)):
        with steer(model, [tried]):
            found.append(effects(plain.log_probs, answer_log_probs(model, plain.texts), targets=targets))
    own, control = ([effect.target_log_prob_shift for effect in each] for each in found)
    return Gain(value=float(np.mean(own) - np.mean(control)), kl=float(np.mean([effect.kl for effect in found[0]])))
