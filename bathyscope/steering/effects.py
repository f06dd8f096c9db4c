"""What steering does to the next-token distribution of a fixed text, beside what it was meant to do."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.models.logits import logits_at
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs

Text = tuple[Sequence[int], Sequence[int]]
"""Prompt tokens and answer tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Effect on one text, averaged over the positions of its answer."""

    target_log_prob_shift: float
    """log P(any target token) steered minus unsteered, in nats; beside `against` the shift of log-odds."""
    kl: float
    """KL(unsteered ‖ steered) of the next-token distribution, in nats per token."""


def answer_log_probs(model: Model, texts: Sequence[Text]) -> list[Float[Tensor, "_ V"]]:
    """Per text [S, V]: log-probabilities where its S answer tokens are predicted, teacher-forced, as steered now.

    Read the same tokens with and without steering: an effect is then not blurred by two different answers.
    """
    with torch.no_grad():
        return [logits_SV.log_softmax(-1).cpu() for logits_SV in answer_logits(model, texts)]


def answer_logits(model: Model, texts: Sequence[Text]) -> list[Float[Tensor, "_ V"]]:
    """Per text [S, V]: logits where its S answer tokens are predicted, with their gradient graph where there is one."""
    inputs = padded_inputs(model, [[*prompt, *answer] for prompt, answer in texts], side="right")
    spans = [(len(prompt) - 1, len(prompt) + max(len(answer), 1) - 1) for prompt, answer in texts]
    return logits_at(model, inputs, spans)


def effects(
    before: Sequence[Float[Tensor, "_ V"]],
    after: Sequence[Float[Tensor, "_ V"]],
    *,
    targets: Sequence[int],
    against: Sequence[int] = (),
) -> list[Effect]:
    """The effect on each text, from `answer_log_probs` without and with steering.

    With tokens `against`, the shift is that of log P(any target) − log P(any of those): what raises all alike has none.
    """
    found: list[Effect] = []
    for before_SV, after_SV in zip(before, after, strict=True):
        shift_S = told(after_SV, targets, against) - told(before_SV, targets, against)
        kl_S = (before_SV.exp() * (before_SV - after_SV)).sum(1)
        found.append(Effect(target_log_prob_shift=float(shift_S.mean()), kl=float(kl_S.mean())))
    return found


def told(log_p_SV: Float[Tensor, "S V"], targets: Sequence[int], against: Sequence[int] = ()) -> Float[Tensor, " S"]:
    """At each position log P(any target token), less log P(any token `against`) where there are such."""
    wanted_S = log_p_SV[:, list(targets)].logsumexp(1)
    return wanted_S - log_p_SV[:, list(against)].logsumexp(1) if against else wanted_S
