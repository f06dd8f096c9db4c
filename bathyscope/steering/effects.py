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
    """log P(any target token) steered minus unsteered, in nats."""
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
    before: Sequence[Float[Tensor, "_ V"]], after: Sequence[Float[Tensor, "_ V"]], *, targets: Sequence[int]
) -> list[Effect]:
    """The effect on each text, from `answer_log_probs` without and with steering."""
    wanted = torch.tensor(list(targets))
    found: list[Effect] = []
    for before_SV, after_SV in zip(before, after, strict=True):
        shift_S = after_SV[:, wanted].logsumexp(1) - before_SV[:, wanted].logsumexp(1)
        kl_S = (before_SV.exp() * (before_SV - after_SV)).sum(1)
        found.append(Effect(target_log_prob_shift=float(shift_S.mean()), kl=float(kl_S.mean())))
    return found
