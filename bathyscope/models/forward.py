"""What the running forward was called with, and how a block of code is put around each forward of a network.

`current_forward()` answers inside a replacement function which tokens pass, and how many went before into the cache.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

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


_running: ContextVar[Forward | None] = ContextVar("bathyscope_forward", default=None)


def current_forward() -> Forward:
    """The forward that is running now. Raises ModelError outside a `replace` block's forward."""
    forward = _running.get()
    if forward is None:
        raise ModelError("no forward is running: current_forward() works inside a function given to replace()")
    return forward


def announced(go_on: Callable[[], Any], inputs: dict[str, Any]) -> Any:
    """Run one forward while `current_forward()` describes it."""
    cache = inputs.get("past_key_values")
    forward = Forward(
        tokens_BS=inputs.get("input_ids"),
        past_length=0 if cache is None else int(cache.get_seq_length()),
        attention_mask=inputs.get("attention_mask"),
    )
    token = _running.set(forward)
    try:
        return go_on()
    finally:
        _running.reset(token)


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
