"""`alike_before`: prompts of the same tokens pass the blocks before a hookpoint as one row.

A batch that answers one prompt under many ways of steering differs from the first of them on alone. The reference is
the forward of every row, and a test compares them over every architecture.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bathyscope.models.model import Model
from bathyscope.models.onward import passed_blocks
from bathyscope.models.outputs import activation_of, with_activation

_hookpoint: ContextVar[str | None] = ContextVar("bathyscope_alike_before", default=None)


@contextmanager
def alike_before(hookpoint: str | None) -> Iterator[None]:
    """Say that nothing inside the block tells rows of the same tokens apart before `hookpoint`; None says nothing.

    A prompt that occurs several times in a batch of a generation then passes the blocks before it once. Functions that
    look at these blocks see the different rows alone.
    """
    token = _hookpoint.set(hookpoint)
    try:
        yield
    finally:
        _hookpoint.reset(token)


@contextmanager
def alike_rows(model: Model, rows: Sequence[Sequence[int]], cache: Any) -> Iterator[None]:
    """Inside, one forward of the prompts `rows` runs the blocks that `alike_before` speaks of for the different rows
    alone; what comes behind them, and the cache at the end, has every row.

    Nothing is shared without a cache, behind a prompt (the cache holds something), where no two rows are the same, or
    in a network that gives its blocks tensors whose rows cannot be told.
    """
    hookpoint = _hookpoint.get()
    if hookpoint is None or cache is None or cache.get_seq_length():
        yield
        return
    blocks = passed_blocks(model, hookpoint).blocks
    number_of = {row: number for number, row in enumerate(dict.fromkeys(map(tuple, rows)))}
    if not blocks or len(number_of) == len(rows):
        yield
        return
    places = [number_of[tuple(row)] for row in rows]
    place_B = torch.tensor(places, device=model.device)
    first_U = torch.tensor([places.index(number) for number in range(len(number_of))], device=model.device)
    sharing = _Sharing(len(rows), place_B, first_U)
    with ExitStack() as stack:
        stack.callback(blocks[0].register_forward_pre_hook(sharing.begin, with_kwargs=True, prepend=True).remove)
        for block in blocks[1:]:
            stack.callback(block.register_forward_pre_hook(sharing.go_on, with_kwargs=True, prepend=True).remove)
        stack.callback(blocks[-1].register_forward_hook(sharing.end, prepend=True).remove)
        yield
    if sharing.is_shared:
        for layer in cache.layers[: len(blocks)]:
            layer.batch_select_indices(place_B)


@dataclass(slots=True, eq=False)
class _Sharing:
    """What the hooks of one forward share."""

    n_rows: int
    """B, rows of the batch."""
    place_B: Tensor
    """Row of the batch → number of its tokens among the different ones."""
    first_U: Tensor
    """Number of different tokens → the first row of the batch that has them."""
    is_shared: bool = False
    """Whether the running forward passes the different rows alone."""

    def begin(self, _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Take the different rows of what the first block is given, where that can be told."""
        self.is_shared = all(map(self._can_take, (*given, *named.values())))
        return self.go_on(_module, given, named)

    def go_on(self, _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The same for the blocks behind it, whose activation has the different rows already."""
        if not self.is_shared:
            return None
        return tuple(map(self._taken, given)), {name: self._taken(value) for name, value in named.items()}

    def end(self, _module: nn.Module, _given: Any, output: Any) -> Any:
        """Give every row of the batch its activation."""
        x_USD = activation_of(output) if self.is_shared else None
        return None if x_USD is None else with_activation(output, x_USD[self.place_B])

    def _can_take(self, value: Any) -> bool:
        if isinstance(value, list | tuple):
            return all(map(self._can_take, value))
        return not isinstance(value, Tensor) or value.ndim < 2 or value.shape[0] in (1, self.n_rows)

    def _taken(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(self._taken, value))
        if isinstance(value, Tensor) and value.ndim > 1 and value.shape[0] == self.n_rows:
            return value[self.first_U]
        return value
