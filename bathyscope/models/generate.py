"""Answers to prompts, greedy or sampled, with and without a key-value cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from bathyscope.errors import ConfigError
from bathyscope.models.decoding import Draw, choose, next_logits, seeded
from bathyscope.models.model import Model
from bathyscope.models.prompts import chat_tokens, prompt_tokens, stop_tokens

__all__ = ["Generation", "answer_rows", "chat_tokens", "generate"]


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
    Draw(temperature=temperature)  # refused before anything is tokenised
    if isinstance(prompts, str):
        raise ConfigError("prompts must be a list of texts, found one text; write [prompt]")
    rows = [prompt_tokens(model, prompt, chat=chat, system=system) for prompt in prompts]
    _require_room(model, rows, max_new_tokens)
    stops = stop_tokens(model)
    answers: list[list[int]] = []
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        draws = [Draw(temperature=temperature, generator=seeded(seed, first + n)) for n in range(len(batch))]
        answers += answer_rows(
            model, batch, max_new_tokens=max_new_tokens, draws=draws, stops=stops, use_cache=use_cache
        )
    return [
        _generation(model, prompt, row, answer, stops)
        for prompt, row, answer in zip(prompts, rows, answers, strict=True)
    ]


def answer_rows(
    model: Model,
    rows: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    draws: Sequence[Draw],
    stops: frozenset[int],
    use_cache: bool = True,
) -> list[list[int]]:
    """Answers to one batch of token rows. Rows that ended are fed padding until the last one ends."""
    steps = next_logits(model, rows, use_cache=use_cache)
    answers: list[list[int]] = [[] for _ in rows]
    going = set(range(len(rows)))
    logits_BTV = next(steps)
    while going:
        fed: list[int | None] = [None] * len(rows)
        for number in sorted(going):
            fed[number] = token = choose(model, logits_BTV[number, -1], draws[number])
            answers[number].append(token)
            if token in stops or len(answers[number]) == max_new_tokens:
                going.remove(number)
        if going:
            logits_BTV = steps.send(fed)
    return answers


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
