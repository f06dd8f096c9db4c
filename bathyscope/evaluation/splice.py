"""What the model loses when a layer is replaced: cross-entropy and KL per document, several replacements at once."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.evaluation.segments import SegmentBatch
from bathyscope.models.hooks import replace
from bathyscope.models.model import Model
from bathyscope.models.onward import passed_blocks, recording, replaying

Replacement = Callable[[Float[Tensor, "N D"]], Float[Tensor, "N D"]]
"""What takes the place of the activations of the kept tokens, [N, D] → [N, D]."""

CHUNK_TOKENS = 256
"""Rows of the vocabulary-wide log-softmax held at once."""


def splice_losses(
    model: Model, hookpoint: str, batch: SegmentBatch, arms: Mapping[str, Replacement]
) -> dict[str, Float[NDArray[np.float64], "B 3"]]:
    """Per row: (cross-entropy sum, KL(clean ‖ arm) sum, number of predictions), for `clean` and every arm.

    Only tokens with a stored activation are replaced; special tokens and sinks keep their own. Sums in nats over the
    predictions of real next tokens. Blocks before the hookpoint run once for all arms.
    """
    targets_BS = batch.tokens_BS[:, 1:]
    scored_BS = batch.mask_BS[:, 1:].bool()
    passed = passed_blocks(model, hookpoint)
    with recording(passed):
        clean_NV = _logits(model, batch)[scored_BS]
    losses = {"clean": _row_sums(batch, scored_BS, clean_NV, clean_NV, targets_BS)}
    for name, replacement in arms.items():
        with replaying(passed), replace(model, {hookpoint: _Splice(replacement, batch)}):
            arm_NV = _logits(model, batch)[scored_BS]
        losses[name] = _row_sums(batch, scored_BS, clean_NV, arm_NV, targets_BS)
    return losses


class _Splice:
    """Replaces the kept tokens of one batch and leaves the rest."""

    def __init__(self, replacement: Replacement, batch: SegmentBatch) -> None:
        self.replacement, self.kept_BS = replacement, batch.kept_BS

    def __call__(self, x_BSD: Tensor) -> Tensor:
        spliced_BSD = x_BSD.clone()
        kept_BS = self.kept_BS.to(x_BSD.device)
        spliced_BSD[kept_BS] = self.replacement(x_BSD[kept_BS].float()).to(x_BSD.dtype)
        return spliced_BSD


def _logits(model: Model, batch: SegmentBatch) -> Tensor:
    """Logits [B, S-1, V] that predict tokens 1…S-1."""
    with torch.inference_mode():
        tokens_BS, mask_BS = batch.tokens_BS.to(model.device), batch.mask_BS.to(model.device)
        return model.network(input_ids=tokens_BS, attention_mask=mask_BS, use_cache=False).logits[:, :-1]


def _row_sums(
    batch: SegmentBatch, scored_BS: Tensor, clean_NV: Tensor, arm_NV: Tensor, targets_BS: Tensor
) -> NDArray[np.float64]:
    targets_N = targets_BS[scored_BS].to(arm_NV.device)
    ce_N, kl_N = torch.zeros(len(targets_N)), torch.zeros(len(targets_N))
    for i in range(0, len(targets_N), CHUNK_TOKENS):
        part = slice(i, i + CHUNK_TOKENS)
        arm_MV = arm_NV[part].float()
        total_M = arm_MV.logsumexp(-1)
        ce_N[part] = (total_M - arm_MV.gather(1, targets_N[part, None])[:, 0]).cpu()
        if arm_NV is not clean_NV:
            kl_N[part] = _kl(clean_NV[part].float(), arm_MV, total_M).cpu()
    rows_N = np.repeat(np.arange(len(scored_BS)), scored_BS.sum(1).numpy())
    per_token_N3 = np.stack([ce_N.double().numpy(), kl_N.double().numpy(), np.ones(len(rows_N))], axis=1)
    sums_B3 = np.zeros((len(scored_BS), 3))
    np.add.at(sums_B3, rows_N, per_token_N3)
    return sums_B3


def _kl(clean_MV: Tensor, arm_MV: Tensor, arm_total_M: Tensor) -> Tensor:
    """KL(p ‖ q) from logits a, b: Σ p·(a - b) - logΣexp a + logΣexp b; exactly 0 when a = b."""
    clean_total_M = clean_MV.logsumexp(-1)
    p_MV = (clean_MV - clean_total_M[:, None]).exp_()
    return (p_MV * (clean_MV - arm_MV)).sum(-1) - clean_total_M + arm_total_M
