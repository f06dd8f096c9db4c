"""What steering does to the next-token distribution of a fixed text, beside what it was meant to do."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from bathyscope.models.model import Model
from bathyscope.steering.operations import Operation
from bathyscope.steering.steer import steer


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Effect on one text, averaged over the positions of its answer."""

    target_log_prob_shift: float
    """log P(any target token) steered minus unsteered, in nats."""
    kl: float
    """KL(unsteered ‖ steered) of the next-token distribution, in nats per token."""


def effects(
    model: Model,
    operations: Sequence[Operation],
    texts: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    targets: Sequence[int],
) -> list[Effect]:
    """The effect of `operations` on each (prompt tokens, answer tokens), teacher-forced.

    The same tokens are read with and without steering, so the figure is not blurred by two different answers.
    """
    plain = _answer_log_probs(model, (), texts)
    steered = _answer_log_probs(model, operations, texts)
    wanted = torch.tensor(list(targets))
    found: list[Effect] = []
    for before_SV, after_SV in zip(plain, steered, strict=True):
        shift_S = after_SV[:, wanted].logsumexp(1) - before_SV[:, wanted].logsumexp(1)
        kl_S = (before_SV.exp() * (before_SV - after_SV)).sum(1)
        found.append(Effect(target_log_prob_shift=float(shift_S.mean()), kl=float(kl_S.mean())))
    return found


def repetition(tokens: Sequence[int], *, n: int = 3) -> float:
    """Share of the n-grams of `tokens` that stood there before; 0 for fewer than n tokens."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _answer_log_probs(
    model: Model, operations: Sequence[Operation], texts: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> list[Tensor]:
    """Per text: log-probabilities [S, V] (float32) at the positions that predict its answer tokens."""
    width = max(len(prompt) + len(answer) for prompt, answer in texts)
    tokens_BS = torch.full((len(texts), width), int(texts[0][0][0]), dtype=torch.long)
    mask_BS = torch.zeros(len(texts), width, dtype=torch.long)
    for row, (prompt, answer) in enumerate(texts):
        ids = [*prompt, *answer]
        tokens_BS[row, : len(ids)] = torch.tensor(ids)
        mask_BS[row, : len(ids)] = 1
    context = steer(model, operations) if operations else nullcontext()
    with context, torch.inference_mode():
        logits_BSV = model.network(
            input_ids=tokens_BS.to(model.device), attention_mask=mask_BS.to(model.device), use_cache=False
        ).logits
    found: list[Tensor] = []
    for row, (prompt, answer) in enumerate(texts):
        positions = slice(len(prompt) - 1, len(prompt) + max(len(answer), 1) - 1)
        found.append(logits_BSV[row, positions].float().log_softmax(-1).cpu())
    return found
