"""Read activations (`record`, `run`) and change them (`replace`) while the network runs.

Padding: activations at padded positions are garbage. Real positions agree with the unpadded text when the network is
given `attention_mask` (0 at padding) and, for left padding, `position_ids` that count real tokens only; it does not
derive them by itself. `padding.padded_inputs` makes both.
Caches: each forward is seen as it is called: while decoding with a cache, S is 1.
Nothing of a block stays on the network behind it, exceptions included.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bathyscope.errors import ModelError
from bathyscope.models.forward import announced, around_forward
from bathyscope.models.hookpoints import resolve
from bathyscope.models.outputs import activation_of, with_activation
from bathyscope.models.vision import Readable

Replacement = Callable[[Tensor], Tensor | None]
"""x_BSD → the tensor to go on with, of the same shape and dtype, or None for no change. Must not write into x_BSD.
`forward.current_forward()` tells it which tokens are passing."""


class _Stop(Exception):
    """Ends a forward when every wanted activation has been seen; never leaves the network's call."""


class StoppedForward:
    """What the network's call returns when the forward was stopped early: nothing can be read from it."""

    def __getattr__(self, name: str) -> Any:
        raise ModelError(
            f"the forward was stopped behind the last recorded hookpoint and has no {name!r}; use record(stop=False)"
        )


@dataclass(slots=True, eq=False)
class _Recording:
    wanted: frozenset[str]
    stop: bool
    found: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


_recordings: WeakKeyDictionary[nn.Module, list[_Recording]] = WeakKeyDictionary()
"""Network → recordings whose forward is running now, outermost last; a forward stops when all are complete."""


@contextmanager
def record(model: Readable, hookpoints: str | Sequence[str], *, stop: bool = True) -> Iterator[dict[str, Tensor]]:
    """A dict that holds, after each forward of `model.network` in the block, hookpoint → activation [B, S, D].

    Keys are module paths in order of execution, globs and TransformerLens names resolved. Tensors keep their gradient
    graph where there is one. With `stop`, the forward ends behind the last wanted module in order of execution, and
    the network's call returns a `StoppedForward`; use `stop=False` to see logits or to generate. Replacements entered
    before this block are seen, those entered inside it are not. Nested recordings stop when all have what they want.
    """
    wanted = _resolve_all(model, hookpoints)
    recording = _Recording(wanted=frozenset(wanted), stop=stop)
    modules = dict(model.body.named_modules())
    with ExitStack() as stack:
        for name in wanted:
            handle = modules[name].register_forward_hook(partial(_keep, model.network, recording, name))
            stack.callback(handle.remove)
        stack.enter_context(around_forward(model.network, partial(_recorded, model.network, recording)))
        yield recording.found


def run(
    model: Readable, inputs: Int[Tensor, "B S"] | Mapping[str, Any], hookpoints: str | Sequence[str]
) -> dict[str, Float[Tensor, "B S D"]]:
    """Hookpoint → activation [B, S, D] of one forward without gradients, ended behind the last hookpoint.

    Keys are module paths in the order asked, globs and TransformerLens names resolved.
    `inputs` are token ids without padding, or keyword inputs of the network (see `padding` and `packing`).
    """
    keywords: dict[str, Any] = {"input_ids": inputs} if isinstance(inputs, Tensor) else dict(inputs)
    keywords = {name: v.to(model.device) if isinstance(v, Tensor) else v for name, v in keywords.items()}
    with record(model, hookpoints) as recorded, torch.no_grad():
        model.network(**{**model.reading, **keywords})
    return {name: recorded[name] for name in _resolve_all(model, hookpoints)}


@contextmanager
def replace(model: Readable, replacements: Mapping[str, Replacement]) -> Iterator[None]:
    """Pass the activation at each hookpoint through its function in every forward inside the block.

    Keys are whatever `resolve` takes (a glob applies its function to each match). Several functions on one hookpoint,
    of one mapping or of nested blocks, act in order of entry. Raises ModelError when a function returns another
    shape or dtype than it was given.
    """
    steps = [(name, function) for key, function in replacements.items() for name in resolve(model, key)]
    modules = dict(model.body.named_modules())
    with ExitStack() as stack:
        for name, function in steps:
            handle = modules[name].register_forward_hook(partial(_exchange, name, function))
            stack.callback(handle.remove)
        stack.enter_context(around_forward(model.network, announced))
        yield


def _resolve_all(model: Readable, hookpoints: str | Sequence[str]) -> list[str]:
    """Every hookpoint meant, once, in the order asked."""
    patterns = [hookpoints] if isinstance(hookpoints, str) else list(hookpoints)
    if not patterns:
        raise ModelError("no hookpoint was given; expected at least one, such as 'layers.3'")
    return list(dict.fromkeys(name for pattern in patterns for name in resolve(model, pattern)))


def _recorded(network: nn.Module, recording: _Recording, go_on: Callable[[], Any], _inputs: Mapping[str, Any]) -> Any:
    """Run one forward for a recording; the outermost one turns a stop into a `StoppedForward`."""
    running = _recordings.setdefault(network, [])
    recording.found.clear()
    running.append(recording)
    try:
        return go_on()
    except _Stop:
        return StoppedForward()
    finally:
        running.remove(recording)


def _keep(network: nn.Module, recording: _Recording, name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
    recording.found[name] = _activation(output, name)
    running = _recordings.get(network, [])
    if running and all(r.stop and r.wanted == r.found.keys() for r in running):
        raise _Stop


def _exchange(name: str, function: Replacement, _module: nn.Module, _inputs: Any, output: Any) -> Any:
    x_BSD = _activation(output, name)
    new_BSD = function(x_BSD)
    if new_BSD is None:
        return None
    if new_BSD.shape != x_BSD.shape or new_BSD.dtype != x_BSD.dtype:
        raise ModelError(
            f"the replacement at {name} returned {new_BSD.dtype} {tuple(new_BSD.shape)}, "
            f"expected {x_BSD.dtype} {tuple(x_BSD.shape)}"
        )
    return with_activation(output, new_BSD)


def _activation(output: Any, name: str) -> Tensor:
    x_BSD = activation_of(output)
    if x_BSD is None:
        raise ModelError(f"{name} returned {type(output).__name__} without an activation in this forward")
    return x_BSD
