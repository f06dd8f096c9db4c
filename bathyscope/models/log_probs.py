"""How likely a model finds given tokens."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs, padding_token


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
            found.append(_of_tokens(logits_SV[: len(row) - 1], row[1:]))
    return found


def log_probs_behind(
    model: Model,
    prefix: Sequence[int],
    rows: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    batch_size: int = 32,
) -> list[Float[Tensor, " steps"]]:
    """For each row of S token ids, S natural logarithms: entry i is log P(token i | prefix, tokens 0 … i - 1), float64.

    P is that of a draw at `temperature`. The prefix is read once, and not at all for no rows. The reference is
    `log_probs` of prefix and row together. Works inside steering blocks.
    """
    found: list[Tensor] = []
    if not rows:
        return found
    with torch.no_grad():
        start = model.network(input_ids=torch.tensor([list(prefix)], device=model.device), use_cache=True)
        for first in range(0, len(rows), batch_size):
            found += _behind(model, start, len(prefix), rows[first : first + batch_size], temperature)
    return found


def _behind(
    model: Model, start: Any, n_prefix: int, rows: Sequence[Sequence[int]], temperature: float
) -> list[Float[Tensor, " steps"]]:
    """One batch behind the cache that `start`, the output of a read prefix, holds."""
    longest = max(map(len, rows), default=0)
    first_1V = start.logits[0, -1:]
    logits_BSV = None
    if longest > 1:
        padded = [[*row[:-1], *[padding_token(model)] * (longest - len(row))] for row in rows]
        real = [[1] * (n_prefix + max(len(row) - 1, 0)) + [0] * (longest - max(len(row), 1)) for row in rows]
        cache = copy.deepcopy(start.past_key_values)
        cache.batch_repeat_interleave(len(rows))
        tokens_BS = torch.tensor([row[: longest - 1] for row in padded], device=model.device)
        positions_S = torch.arange(n_prefix, n_prefix + longest - 1, device=model.device)
        logits_BSV = model.network(
            input_ids=tokens_BS,
            attention_mask=torch.tensor(real, device=model.device),
            position_ids=positions_S[None].expand_as(tokens_BS),
            past_key_values=cache,
            use_cache=True,
        ).logits
    found: list[Tensor] = []
    for number, row in enumerate(rows):
        own = _of_tokens(first_1V[: len(row)], row[:1], temperature)
        if len(row) > 1:
            assert logits_BSV is not None
            own = torch.cat([own, _of_tokens(logits_BSV[number, : len(row) - 1], row[1:], temperature)])
        found.append(own)
    return found


def _of_tokens(logits_SV: Float[Tensor, "S V"], tokens: Sequence[int], temperature: float = 1.0) -> Float[Tensor, " S"]:
    """Log-probability of a token at each position, float64 on the CPU.

    Exponentials as precise as the logits are, their sum in float64: a softmax in float64 takes several times as long.
    """
    tokens_S = torch.tensor(list(tokens), dtype=torch.long, device=logits_SV.device)
    logits_SV = logits_SV.float() if temperature == 1 else logits_SV.float() / temperature
    largest_S1 = logits_SV.amax(-1, keepdim=True)
    total_S = (logits_SV - largest_S1).exp_().sum(-1, dtype=torch.float64)
    chosen_S = (logits_SV.gather(1, tokens_S[:, None]) - largest_S1)[:, 0].double()
    return (chosen_S - total_S.log()).cpu()
