"""Generation one step at a time: the logits behind every row, and how a token is taken from them.

A loop of its own instead of `network.generate`: every step is one plain call of the network, so `replace` and steering
act on it, and every row draws from a generator of its own, so an answer does not depend on its batch mates.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.alike import alike_rows
from bathyscope.models.forward import prompt_of
from bathyscope.models.growing_cache import growing_cache
from bathyscope.models.logits import keeps_logits
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs, padding_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How the next token of a row is taken from its logits."""

    temperature: float = 0.0
    """0 takes the likeliest token, the lowest id among equals; above, tokens are drawn."""
    top_p: float = 1.0
    """Tokens are drawn among the likeliest that together have at least this probability."""
    generator: torch.Generator | None = None
    """Of this row alone; needed to draw."""

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise ConfigError(f"temperature must be 0 (greedy) or a positive number, found {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, found {self.top_p}")


def next_logits(
    model: Model, rows: Sequence[Sequence[int]], *, use_cache: bool = True, whole_prompt: bool = False
) -> Generator[Float[Tensor, "B T V"], Sequence[int | None], None]:
    """Logits behind each row; send every row's next token (None: the row has ended) to get those of the next step.

    Rows are padded on the left; T is 1, and in the first step with `whole_prompt` the length of the longest row.
    A row that has ended is fed padding. Works inside `replace`, steering and `alike_before` blocks.
    """
    inputs: dict[str, Any] = {**padded_inputs(model, rows, side="left"), "use_cache": use_cache}
    cache = inputs["past_key_values"] = growing_cache(model) if use_cache else None
    columns = inputs["input_ids"].shape[1]
    keeps = keeps_logits(model)
    kept = columns if whole_prompt else 1
    while True:
        if keeps:
            inputs["logits_to_keep"] = kept  # a long prompt's logits can be larger than the model
        with torch.no_grad(), prompt_of(columns), alike_rows(model, rows, cache):
            output = model.network(**inputs)
        tokens = yield output.logits[:, -kept:]
        step = [padding_token(model) if token is None else token for token in tokens]
        cache = output.past_key_values if use_cache else None
        inputs, kept = _next_inputs(inputs, torch.tensor(step, device=model.device)[:, None], cache), 1


def choose(model: Model, logits_V: Float[Tensor, " V"], draw: Draw) -> int:
    """One token. Raises ModelError for logits that are not numbers (a strength too large, a type too narrow)."""
    if bool(logits_V.isnan().any()):
        raise ModelError(f"{model.name} gave logits that are not numbers; lower the strength or load it as float32")
    if draw.temperature == 0:
        return int(logits_V.argmax())
    assert draw.generator is not None
    p_V = (logits_V.double().cpu() / draw.temperature).softmax(dim=-1)
    return _draw(_likeliest(p_V, draw.top_p), draw.generator)


def seeded(seed: int, number: int) -> torch.Generator:
    """The generator of row `number` under `seed`: the same whatever the batches."""
    state = int(np.random.SeedSequence([abs(seed), int(seed < 0), number]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)


def _next_inputs(inputs: dict[str, Any], tokens_B1: Tensor, cache: Any) -> dict[str, Any]:
    """The inputs of the next step: the new tokens alone behind a cache, or everything again without one."""
    mask_BS, positions_BS = inputs["attention_mask"], inputs["position_ids"]
    mask_BS = torch.cat([mask_BS, torch.ones_like(tokens_B1)], dim=1)
    tokens_BS, positions_BS = tokens_B1, positions_BS[:, -1:] + 1
    if cache is None:
        tokens_BS = torch.cat([inputs["input_ids"], tokens_B1], dim=1)
        positions_BS = torch.cat([inputs["position_ids"], positions_BS], dim=1)
    changed = {"input_ids": tokens_BS, "attention_mask": mask_BS, "position_ids": positions_BS}
    return {**inputs, **changed, "past_key_values": cache}


def _likeliest(p_V: Float[Tensor, " V"], top_p: float) -> Float[Tensor, " V"]:
    """`p_V` with all but the likeliest tokens at 0: as few as together reach `top_p`, the lower id among equals."""
    if top_p == 1:
        return p_V
    sorted_V, order_V = p_V.sort(descending=True, stable=True)
    is_kept_V = sorted_V.cumsum(0) - sorted_V < top_p
    return torch.zeros_like(p_V).index_copy(0, order_V[is_kept_V], sorted_V[is_kept_V])


def _draw(p_V: Float[Tensor, " V"], generator: torch.Generator) -> int:
    """One token by inverting the cumulative distribution (float64) at one uniform number: rounding noise in the logits
    moves the borders a little, it does not redraw."""
    below_V = p_V.cumsum(dim=0)
    uniform = torch.rand(1, generator=generator, dtype=torch.float64) * below_V[-1]
    return min(int(torch.searchsorted(below_V, uniform, right=True)), len(p_V) - 1)
