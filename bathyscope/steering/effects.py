"""What steering does to the next-token distribution of a fixed text, beside what it was meant to do."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

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
    rows = [[*prompt, *answer] for prompt, answer in texts]
    with torch.inference_mode():
        logits_BSV = model.network(**padded_inputs(model, rows, side="right"), use_cache=False).logits
    found: list[Tensor] = []
    for row, (prompt, answer) in enumerate(texts):
        positions = slice(len(prompt) - 1, len(prompt) + max(len(answer), 1) - 1)
        found.append(logits_BSV[row, positions].float().log_softmax(-1).cpu())
    return found


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
