"""How likely a model finds given tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs


def log_probs(model: Model, rows: Sequence[Sequence[int]], *, batch_size: int = 8) -> list[Float[Tensor, " steps"]]:
    """For each row of S token ids, S - 1 natural logarithms: entry i is log P(token i + 1 | tokens 0 … i), float64.

    Works inside `replace` and steering blocks.
    """
    found: list[Tensor] = []
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        inputs = padded_inputs(model, batch, side="right")
        with torch.no_grad():
            logits_BSV = model.network(**inputs, use_cache=False).logits
        for row, logits_SV in zip(batch, logits_BSV, strict=True):
            tokens_S = torch.tensor(list(row[1:]), device=logits_SV.device)
            log_p_SV = logits_SV[: len(row) - 1].double().log_softmax(dim=-1)
            found.append(log_p_SV.gather(1, tokens_S[:, None])[:, 0].cpu())
    return found
