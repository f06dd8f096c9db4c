"""Answers to prompts, greedy or sampled, with and without a key-value cache.

A loop of its own instead of `network.generate`: every row draws from its own seeded generator, so an answer does not
depend on its batch mates, and every step is one plain call of the network, so `replace` and steering act on it.
"""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.forward import prompt_of
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs, padding_token
from bathyscope.models.prompts import chat_tokens, prompt_tokens, stop_tokens

__all__ = ["Generation", "chat_tokens", "generate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One prompt and what the model answered."""

    prompt: str
    """The prompt as given."""
    prompt_tokens: tuple[int, ...]
    """Token ids given to the model, chat template included."""
    tokens: tuple[int, ...]
    """Token ids answered, the stop token included when there was one."""
    text: str
    """The answer without special tokens."""
    ended: bool
    """True when the model ended its answer, False when `max_new_tokens` cut it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """How the next token is taken from the logits."""

    temperature: float
    generators: tuple[torch.Generator, ...]


def generate(
    model: Model,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    use_cache: bool = True,
    chat: bool | None = None,
    system: str | None = None,
    batch_size: int = 16,
) -> list[Generation]:
    """One answer per prompt, in their order, each at most `max_new_tokens` long.

    `temperature` 0 takes the likeliest token (the lowest id among equals); above, tokens are drawn: prompt number i
    from a generator seeded with (`seed`, i), whatever the batches. `chat=None` uses the chat template if there is one.
    Works inside `replace` and steering blocks. Raises ConfigError for settings out of range or prompts too long.
    """
    if max_new_tokens < 1 or batch_size < 1:
        raise ConfigError(f"max_new_tokens and batch_size must be at least 1, found {max_new_tokens} and {batch_size}")
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ConfigError(f"temperature must be 0 (greedy) or a positive number, found {temperature}")
    if isinstance(prompts, str):
        raise ConfigError("prompts must be a list of texts, found one text; write [prompt]")
    rows = [prompt_tokens(model, prompt, chat=chat, system=system) for prompt in prompts]
    _require_room(model, rows, max_new_tokens)
    stops = stop_tokens(model)
    answers: list[list[int]] = []
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        generators = tuple(_generator(seed, first + number) for number in range(len(batch)))
        choice = _Choice(temperature=temperature, generators=generators)
        answers += _answer(model, batch, max_new_tokens=max_new_tokens, choice=choice, stops=stops, use_cache=use_cache)
    return [
        _generation(model, prompt, row, answer, stops)
        for prompt, row, answer in zip(prompts, rows, answers, strict=True)
    ]


def _answer(
    model: Model,
    rows: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    choice: _Choice,
    stops: frozenset[int],
    use_cache: bool,
) -> list[list[int]]:
    """Answers to one batch of token rows. Rows that ended are fed padding until the last one ends."""
    inputs: dict[str, Any] = {**padded_inputs(model, rows, side="left"), "use_cache": use_cache}
    if "logits_to_keep" in inspect.signature(model.network.forward).parameters:
        inputs["logits_to_keep"] = 1  # a long prompt's logits can be larger than the model
    answers: list[list[int]] = [[] for _ in rows]
    going = set(range(len(rows)))
    with torch.no_grad(), prompt_of(inputs["input_ids"].shape[1]):
        for _ in range(max_new_tokens):
            output = model.network(**inputs)
            chosen = _choose(model, output.logits[:, -1], choice)
            for number in sorted(going):
                answers[number].append(chosen[number])
                if chosen[number] in stops:
                    going.remove(number)
            if not going:
                break
            step = [token if number in going else padding_token(model) for number, token in enumerate(chosen)]
            cache = output.past_key_values if use_cache else None
            inputs = _next_inputs(inputs, torch.tensor(step, device=model.device)[:, None], cache)
    return answers


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


def _choose(model: Model, logits_BV: Float[Tensor, "B V"], choice: _Choice) -> list[int]:
    if bool(logits_BV.isnan().any()):
        raise ModelError(f"{model.name} gave logits that are not numbers; lower the strength or load it as float32")
    if choice.temperature == 0:
        return [int(token) for token in logits_BV.argmax(dim=-1)]
    p_BV = (logits_BV.double().cpu() / choice.temperature).softmax(dim=-1)
    return [_draw(p_V, generator) for p_V, generator in zip(p_BV, choice.generators, strict=True)]


def _draw(p_V: Float[Tensor, " V"], generator: torch.Generator) -> int:
    """One token by inverting the cumulative distribution (float64) at one uniform number: rounding noise in the logits
    moves the borders a little, it does not redraw."""
    below_V = p_V.cumsum(dim=0)
    uniform = torch.rand(1, generator=generator, dtype=torch.float64) * below_V[-1]
    return min(int(torch.searchsorted(below_V, uniform, right=True)), len(p_V) - 1)


def _generator(seed: int, number: int) -> torch.Generator:
    state = int(np.random.SeedSequence([abs(seed), int(seed < 0), number]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)


def _require_room(model: Model, rows: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    longest = max(map(len, rows), default=0)
    if longest + max_new_tokens > model.context_length:
        raise ConfigError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the {model.context_length} tokens "
            f"of {model.name}; shorten the prompt or max_new_tokens"
        )


def _generation(
    model: Model, prompt: str, row: Sequence[int], answer: Sequence[int], stops: frozenset[int]
) -> Generation:
    text = model.tokenizer.decode(list(answer), skip_special_tokens=True)
    return Generation(
        prompt=prompt, prompt_tokens=tuple(row), tokens=tuple(answer), text=str(text), ended=answer[-1] in stops
    )
