"""What the running forward was called with, and how a block of code is put around each forward of a network.

`current_forward()` answers inside a replacement function which tokens pass, and how many went before into the cache.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from jaxtyping import Int
from torch import Tensor, nn

from bathyscope.errors import ModelError

Around = Callable[[Callable[[], Any], dict[str, Any]], Any]
"""Called for each forward with (go on, keyword inputs); returns what the network's call returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """The inputs of one call of the network."""

    tokens_BS: Int[Tensor, "B S"] | None
    """Token ids of this call alone (S = 1 when decoding with a cache); None when embeddings were given instead."""
    past_length: int
    """Tokens per row, padding included, that the cache held before this call."""
    attention_mask: Tensor | None
    """The mask as given: usually [B, past + S], 0 at padding; None when every token is real."""
    notes: dict[object, Any] = field(default_factory=dict[object, Any])
    """What functions noted of these rows in forwards before, by whoever noted it; goes with the cache."""
    prompt_columns: int | None = None
    """Columns of each row, padding included, that are prompt, where whoever generates says so; None: nobody did."""


_prompt_columns: ContextVar[int | None] = ContextVar("bathyscope_prompt_columns", default=None)
_notes: WeakKeyDictionary[Any, dict[object, Any]] = WeakKeyDictionary()
"""Cache of a generation → notes on its rows; two generations share nothing."""
_running: ContextVar[Forward | None] = ContextVar("bathyscope_forward", default=None)


def current_forward() -> Forward:
    """The forward that is running now. Raises ModelError outside a `replace` block's forward."""
    forward = _running.get()
    if forward is None:
        raise ModelError("no forward is running: current_forward() works inside a function given to replace()")
    return forward


def announced(go_on: Callable[[], Any], inputs: dict[str, Any]) -> Any:
    """Run one forward while `current_forward()` describes it."""
    outer, cache = _running.get(), inputs.get("past_key_values")
    if outer is not None and outer.tokens_BS is not None and outer.tokens_BS is inputs.get("input_ids"):
        return go_on()  # a block around this one has said so already
    past_length = 0 if cache is None else int(cache.get_seq_length())
    notes = _notes.get(cache, {}) if past_length else {}
    forward = Forward(
        tokens_BS=inputs.get("input_ids"),
        past_length=past_length,
        attention_mask=inputs.get("attention_mask"),
        notes=notes,
        prompt_columns=_prompt_columns.get(),
    )
    token = _running.set(forward)
    try:
        output = go_on()
    finally:
        _running.reset(token)
    made = getattr(output, "past_key_values", None) if inputs.get("use_cache", True) else None
    if made is not None and notes:
        _notes[made] = notes
    return output


@contextmanager
def prompt_of(columns: int) -> Iterator[None]:
    """Say that the first `columns` columns of every row are prompt, in forwards inside the block."""
    token = _prompt_columns.set(columns)
    try:
        yield
    finally:
        _prompt_columns.reset(token)


@contextmanager
def around_forward(network: nn.Module, around: Around) -> Iterator[None]:
    """Put `around` about every forward of `network` inside the block; of nested blocks the inner one is outermost."""
    inner = network.forward
    own = network.__dict__.get("forward")

    @functools.wraps(inner)
    def forward(*arguments: Any, **keywords: Any) -> Any:
        inputs = {"input_ids": arguments[0], **keywords} if arguments else keywords
        return around(lambda: inner(*arguments, **keywords), inputs)

    network.__dict__["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del network.__dict__["forward"]
        else:
            network.__dict__["forward"] = own
