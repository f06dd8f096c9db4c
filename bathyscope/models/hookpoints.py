"""Where activations can be read: module paths, globs over them, TransformerLens names, widths.

A hookpoint is a module of the model's body (a decoder, or an image encoder) that runs once per forward and returns a
[B, S, D] tensor, named by its path relative to that body: `layers.15` is the output of block 15, the residual stream
behind it.
(`output_hidden_states[-1]` is something else: it is taken behind the final norm, here called `norm`.)
"""

import difflib
import fnmatch
import re
import weakref
from functools import partial
from typing import Any

import torch
from torch import nn

from bathyscope.errors import ModelError
from bathyscope.models.lens_names import lens_name, lens_names
from bathyscope.models.outputs import activation_of
from bathyscope.models.vision import Readable

_widths: weakref.WeakKeyDictionary[nn.Module, dict[str, int]] = weakref.WeakKeyDictionary()
"""Network → (hookpoint → width), filled by the first dry run."""


def names(model: Readable) -> list[str]:
    """Every hookpoint of `model`, in the order of its modules."""
    return list(widths(model))


def resolve(model: Readable, pattern: str) -> list[str]:
    """The hookpoints that `pattern` means, in the order of the model's modules; at least one.

    `pattern` is a module path (also with the body's own prefix, as in `model.layers.3`), a TransformerLens name
    (`blocks.3.hook_resid_post`), or a glob over either: `*`, `?` and `[0-9]` stay within one part of the path, so
    `layers.*` are the blocks and `layers.*.mlp` their MLPs; a part `**` stands for any number of parts.
    Raises ModelError with the nearest names when nothing matches.
    """
    known = names(model)
    lens = lens_names(known)
    for candidate in (pattern, pattern.removeprefix(f"{_body_path(model)}.")):
        if candidate in known:
            return [candidate]
        if candidate in lens:
            return [lens[candidate]]
        parts = candidate.split(".")
        found = {name for name in known if _matches(name.split("."), parts)}
        found = found or {path for name, path in lens.items() if _matches(name.split("."), parts)}
        if found:
            return [name for name in known if name in found]
    raise ModelError(_unknown(model, pattern, known, lens))


def width(model: Readable, hookpoint: str) -> int:
    """D of the [B, S, D] tensors at one hookpoint (any name that `resolve` takes)."""
    found = resolve(model, hookpoint)
    if len(found) > 1:
        raise ModelError(f"{hookpoint!r} means {len(found)} hookpoints ({', '.join(found[:4])}, …), expected one")
    return widths(model)[found[0]]


def widths(model: Readable) -> dict[str, int]:
    """Every hookpoint with its width, found by running the model's trial batch through it once."""
    if model.network not in _widths:
        _widths[model.network] = _dry_run(model)
    return _widths[model.network]


def transformer_lens_name(model: Readable, hookpoint: str) -> str | None:
    """The TransformerLens name of a hookpoint, or None where TransformerLens has none."""
    (path,) = resolve(model, hookpoint)
    return lens_name(path, names(model))


def _dry_run(model: Readable) -> dict[str, int]:
    """Run a batch of two rows of S positions; keep the modules that return one [2, S, D] tensor exactly once."""
    outputs: dict[str, list[int | None]] = {}
    modules = {name: module for name, module in model.body.named_modules() if name}
    trial = model.trial()
    handles = [
        m.register_forward_hook(partial(_note_width, outputs.setdefault(n, []), trial.n_positions))
        for n, m in modules.items()
    ]
    try:
        with torch.no_grad():
            model.body(**trial.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: found[0] for name, found in outputs.items() if len(found) == 1 and found[0] is not None}


def _note_width(widths: list[int | None], n_positions: int, _module: nn.Module, _inputs: Any, output: Any) -> None:
    x = activation_of(output)
    widths.append(x.shape[2] if x is not None and x.ndim == 3 and x.shape[:2] == (2, n_positions) else None)


def _body_path(model: Readable) -> str:
    """Path of the body inside the network: `model`, `transformer`, …"""
    body = model.body
    return next((name for name, module in model.network.named_modules() if module is body), "")


def _matches(parts: list[str], patterns: list[str]) -> bool:
    """Whether the parts of a dotted name match a glob part by part; `**` takes any number of them."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_matches(parts[n:], patterns[1:]) for n in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])


def _unknown(model: Readable, pattern: str, known: list[str], lens: dict[str, str]) -> str:
    if pattern in dict(model.body.named_modules()):
        return (
            f"{pattern!r} is a module of {model.name}, but its output is not one [batch, position, width] tensor per "
            f"forward; choose a block such as {_example(known)!r}"
        )
    near = difflib.get_close_matches(pattern, [*known, *lens], n=4, cutoff=0.5)
    blocks = [name for name in known if re.fullmatch(r"[a-z]+\.\d+", name)]
    reach = f"blocks {blocks[0]} … {blocks[-1]}" if blocks else f"{len(known)} hookpoints"
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return f"{model.name} has no hookpoint {pattern!r}{hint} ({reach}; `bathyscope models` lists them)"


def _example(known: list[str]) -> str:
    return next((name for name in known if re.fullmatch(r"[a-z]+\.\d+", name)), known[0])
