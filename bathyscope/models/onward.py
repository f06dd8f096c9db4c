"""Run a network again from a hookpoint on, on the same tokens, without the blocks before it.

Several replacements at one hookpoint share everything that comes before: it is computed in the first forward and given
back in the others. For forwards without a cache (`use_cache=False`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from bathyscope.errors import ModelError
from bathyscope.models.hookpoints import resolve
from bathyscope.models.model import Model


@dataclass(slots=True, eq=False)
class Passed:
    """The blocks that a forward has behind it when it reaches a hookpoint, and what the last of them put out."""

    blocks: list[nn.Module]
    """In order of execution; the hookpoint's own block is among them when the hookpoint is the whole block."""
    outputs: list[Any] = field(default_factory=list[Any])
    """The last block's output in the last recorded forward, or nothing yet."""


def passed_blocks(model: Model, hookpoint: str) -> Passed:
    """The blocks before `hookpoint`; none for a network whose blocks are not numbered."""
    (name,) = resolve(model, hookpoint)
    before, _, rest = name.partition(".")
    blocks = dict(model.body.named_children()).get(before)
    number, _, inside = rest.partition(".")
    if not isinstance(blocks, nn.ModuleList) or not number.isdecimal():
        return Passed([])
    return Passed(list(blocks)[: int(number) + (not inside)])


@contextmanager
def recording(passed: Passed) -> Iterator[None]:
    """Keep what the last block puts out in a forward inside the block."""
    with ExitStack() as stack:
        for block in passed.blocks[-1:]:

            def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
                passed.outputs[:] = [output]

            stack.callback(block.register_forward_hook(keep, prepend=True).remove)
        yield


@contextmanager
def replaying(passed: Passed) -> Iterator[None]:
    """Inside, the blocks are not run: each gives back what was recorded, for forwards of the same tokens."""
    if passed.blocks and not passed.outputs:
        raise ModelError("nothing was recorded yet: run one forward inside recording() first")
    own = [block.__dict__.get("forward") for block in passed.blocks]
    try:
        for block in passed.blocks:
            block.__dict__["forward"] = lambda *_inputs, **_named: passed.outputs[0]
        yield
    finally:
        for block, forward in zip(passed.blocks, own, strict=True):
            if forward is None:
                block.__dict__.pop("forward", None)
            else:
                block.__dict__["forward"] = forward
