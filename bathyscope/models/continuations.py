"""Many sampled continuations at once, with how likely each was: what estimates of rare answers are made of.

`generate` gives every row a generator of its own, so that an answer does not depend on its batch; here one generator
serves the batch, a prompt that all rows share is read once, and rows may go on from tokens written before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.forward import prompt_of
from bathyscope.models.logits import keeps_logits
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs, padding_token

BEHIND = -1
"""Stands behind the last token of a row that ended."""


class Continued(NamedTuple):
    """New tokens of each row."""

    tokens_BT: Int[Tensor, "B T"]
    """Token ids, the stop token included; `BEHIND` where the row had ended."""
    log_p_BT: Float[Tensor, "B T"]
    """Natural logarithm of each token's probability when it was drawn, float64; 0 where the row had ended."""


class _Place(NamedTuple):
    """Where a batch stands."""

    logits_BV: Tensor
    cache: Any
    mask_BS: Tensor
    position_B: Tensor


def continuations(
    model: Model,
    prompts: Sequence[Sequence[int]],
    given_BC: Int[Tensor, "B C"],
    *,
    n_tokens: int,
    temperature: float,
    stops: frozenset[int],
    generator: torch.Generator,
) -> Continued:
    """`n_tokens` drawn tokens behind each row's prompt and given tokens; a row ends at one of `stops`.

    Works inside `replace` and steering blocks: prompts are told from what follows. Equal prompts are read once. Raises
    ConfigError for rows beyond the model's context, ModelError for logits that are not numbers.
    """
    longest = max(map(len, prompts), default=0) + given_BC.shape[1] + n_tokens
    if longest > model.context_length:
        raise ConfigError(
            f"{longest} tokens exceed the {model.context_length} of {model.name}; shorten prompt or answer"
        )
    shared = len({tuple(prompt) for prompt in prompts}) == 1
    inputs = padded_inputs(model, prompts[:1] if shared else prompts)
    tokens: list[Tensor] = []
    log_p: list[Tensor] = []
    is_going_B = torch.ones(len(prompts), dtype=torch.bool)
    with torch.no_grad(), prompt_of(inputs["input_ids"].shape[1]):
        place = _begun(model, inputs, len(prompts))
        if given_BC.shape[1]:
            place = _read(model, place, given_BC)
        while True:
            token_B, log_p_B = _drawn(model, place.logits_BV, temperature, generator)
            tokens.append(torch.where(is_going_B, token_B, BEHIND))
            log_p.append(torch.where(is_going_B, log_p_B, 0.0))
            is_going_B = is_going_B & ~torch.isin(token_B, torch.tensor(sorted(stops), dtype=torch.long))
            if len(tokens) == n_tokens or not bool(is_going_B.any()):
                break
            place = _read(model, place, torch.where(is_going_B, token_B, padding_token(model))[:, None])
    missing = (0, n_tokens - len(tokens))
    return Continued(
        torch.nn.functional.pad(torch.stack(tokens, 1), missing, value=BEHIND),
        torch.nn.functional.pad(torch.stack(log_p, 1), missing, value=0.0),
    )


def _begun(model: Model, inputs: dict[str, Any], n_rows: int) -> _Place:
    """The prompts, read; one prompt stands for all rows."""
    keep = {"logits_to_keep": 1} if keeps_logits(model) else {}
    output = model.network(**inputs, **keep, use_cache=True)
    copies = n_rows // len(inputs["input_ids"])
    cache = output.past_key_values
    if copies > 1:
        cache.batch_repeat_interleave(copies)
    return _Place(
        output.logits[:, -1].repeat_interleave(copies, 0),
        cache,
        inputs["attention_mask"].repeat_interleave(copies, 0),
        inputs["position_ids"][:, -1].repeat_interleave(copies, 0),
    )


def _read(model: Model, place: _Place, tokens_BT: Int[Tensor, "B T"]) -> _Place:
    """The same tokens further on."""
    tokens_BT = tokens_BT.to(model.device)
    n_tokens = tokens_BT.shape[1]
    mask_BS = torch.cat([place.mask_BS, torch.ones_like(tokens_BT)], 1)
    keep = {"logits_to_keep": 1} if keeps_logits(model) else {}
    output = model.network(
        input_ids=tokens_BT,
        attention_mask=mask_BS,
        position_ids=place.position_B[:, None] + torch.arange(1, n_tokens + 1, device=model.device),
        past_key_values=place.cache,
        use_cache=True,
        **keep,
    )
    return _Place(output.logits[:, -1], output.past_key_values, mask_BS, place.position_B + n_tokens)


def _drawn(
    model: Model, logits_BV: Float[Tensor, "B V"], temperature: float, generator: torch.Generator
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """One token of each row and its log-probability, float64, by inverting the cumulative distribution."""
    if bool(logits_BV.isnan().any()):
        raise ModelError(f"{model.name} gave logits that are not numbers; lower the strength or load it as float32")
    log_p_BV = (logits_BV.double().cpu() / temperature).log_softmax(-1)
    below_BV = log_p_BV.exp().cumsum(-1)
    uniform_B1 = torch.rand(len(below_BV), 1, generator=generator, dtype=torch.float64) * below_BV[:, -1:]
    token_B1 = torch.searchsorted(below_BV, uniform_B1, right=True).clamp(max=below_BV.shape[1] - 1)
    return token_B1[:, 0], log_p_BV.gather(1, token_B1)[:, 0]
