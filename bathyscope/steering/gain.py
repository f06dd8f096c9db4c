"""How much an operation raises tokens on a fixed plain answer, beyond a random direction that moves just as far.

`gain` measures one operation; `slope` tells of all directions at once how they begin, to first order.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.models.generate import generate
from bathyscope.models.hookpoints import width
from bathyscope.models.model import Model
from bathyscope.models.onward import Passed, passed_blocks, recording, replaying
from bathyscope.steering.effects import Effect, Text, answer_log_probs, answer_logits, effects, told
from bathyscope.steering.operations.offset import Offset
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.steer import steer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Unsteered answers and the model's own log-probabilities on them."""

    texts: Sequence[Text]
    log_probs: Sequence[Float[Tensor, "_ V"]]
    hookpoint: str
    """Where operations will act."""
    passed: Passed
    """What the network has computed when it gets there, the same under every operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What an operation does on plain answers, the mean over them."""

    value: float
    """Shift of log P(target tokens) minus the same under a random direction of equal length, in nats."""
    kl: float
    """KL to the unsteered model, in nats per token."""


def plain_answers(model: Model, prompts: Sequence[str], *, hookpoint: str, max_new_tokens: int, seed: int) -> Plain:
    """The answers to read again under each operation at `hookpoint`."""
    answers = generate(model, prompts, max_new_tokens=max_new_tokens, seed=seed)
    texts, passed = [(answer.prompt_tokens, answer.tokens) for answer in answers], passed_blocks(model, hookpoint)
    with recording(passed):
        before = answer_log_probs(model, texts)
    return Plain(texts=texts, log_probs=before, hookpoint=hookpoint, passed=passed)


def gain(
    model: Model,
    operation: Operation,
    plain: Plain,
    *,
    targets: Sequence[int],
    seed: int,
    against: Sequence[int] = (),
) -> Gain:
    """The gain of `operation`; `seed` draws the random direction. With tokens `against` in log-odds, see `effects`."""
    found: list[list[Effect]] = []
    for tried in (operation, RandomDirection(operation, seed)):
        with ExitStack() as stack:
            if tried.hookpoint == plain.hookpoint:
                stack.enter_context(replaying(plain.passed))
            stack.enter_context(steer(model, [tried]))
            after = answer_log_probs(model, plain.texts)
        found.append(effects(plain.log_probs, after, targets=targets, against=against))
    own, control = ([effect.target_log_prob_shift for effect in each] for each in found)
    return Gain(value=float(np.mean(own) - np.mean(control)), kl=float(np.mean([effect.kl for effect in found[0]])))


def slope(model: Model, plain: Plain, *, targets: Sequence[int], against: Sequence[int] = ()) -> Float[Tensor, " D"]:
    """Gradient of what `gain` measures, without its control, with respect to a vector added at every token.

    Its product with a direction is how fast that direction begins to raise the tokens, in nats per unit of length:
    one forward and one backward for all directions (attribution patching, Syed et al. 2023, arXiv 2310.10348).
    """
    shift_D = torch.zeros(width(model, plain.hookpoint), requires_grad=True)
    moved = Offset(vector_D=shift_D, hookpoint=plain.hookpoint)
    with torch.enable_grad(), replaying(plain.passed), steer(model, [moved]):
        of_text = [
            told(logits_SV.log_softmax(1), targets, against).mean() for logits_SV in answer_logits(model, plain.texts)
        ]
        (slope_D,) = torch.autograd.grad(torch.stack(of_text).mean(), shift_D)
    return slope_D.detach().cpu()
