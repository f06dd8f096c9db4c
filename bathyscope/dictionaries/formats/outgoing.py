"""What the writers of foreign formats share: weights as a foreign encoder takes them, and names of places.

Knows nothing of a single format.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

import bathyscope
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.formats.hooks import lens_residual
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError


def refuse(dictionary: Dictionary, format: str, reason: str) -> ConfigError:  # noqa: A002
    """The error that names what a format cannot express."""
    what = type(dictionary.rule).__name__
    return ConfigError(f"the {format} format cannot express this dictionary (rule {what}): {reason}")


def trained_rows(dictionary: Dictionary) -> Weights:
    """The weights with each feature's gain back in its decoder row: codes are then what the rule keeps."""
    weights = dictionary.weights
    if weights.gain is None:
        return weights
    return dataclasses.replace(weights, W_dec=weights.W_dec * weights.gain[:, None], gain=None)


def with_subtraction(dictionary: Dictionary, weights: Weights, *, subtracts: bool) -> Weights:
    """Weights that compute the same in a format that always (or never) takes `b_dec` off x: `b_enc` makes up for it."""
    if dictionary.subtract_b_dec == subtracts:
        return weights
    part_F = (weights.b_dec.double() @ weights.W_enc.double()).float()
    return dataclasses.replace(weights, b_enc=weights.b_enc + (part_F if subtracts else -part_F))


def save_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """A safetensors file."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)


def names(dictionary: Dictionary) -> dict[str, Any]:
    """Model, hook names and context of the dictionary as far as they are known, in SAELens' words."""
    source = dictionary.source or {}
    known = ("model_name", "hook_name", "hook_name_out", "hf_hook_name", "prepend_bos", "context_size", "dataset_path")
    found = {name: source.get(name) for name in known}
    found["model_name"] = found["model_name"] or (dictionary.model_identity or {}).get("name")
    found["hf_hook_name"] = found["hf_hook_name"] or dictionary.hookpoint
    found["hook_name"] = found["hook_name"] or residual_name(dictionary.hookpoint) or dictionary.hookpoint
    if dictionary.output_hookpoint not in (None, "output"):
        found["hf_hook_name_out"] = dictionary.output_hookpoint
    found["written_by"] = f"bathyscope {bathyscope.__version__}"
    return {name: value for name, value in found.items() if value is not None}


def layer_of(dictionary: Dictionary) -> int | None:
    """Number of the block that the hookpoint belongs to."""
    names_of_it = (dictionary.hookpoint, dictionary.output_hookpoint, (dictionary.source or {}).get("hook_name"))
    found = (re.search(r"(?:layers|h|blocks)\.(\d+)", str(name)) for name in names_of_it)
    return next((int(match[1]) for match in found if match), None)


def residual_name(hookpoint: str | None) -> str | None:
    """The TransformerLens name of a whole block's output; other modules have none without the model at hand."""
    match = re.fullmatch(r"(?:layers|h)\.(\d+)", hookpoint or "")
    return lens_residual(int(match[1])) if match else None
