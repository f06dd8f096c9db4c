"""Pairs from a file of one array, for those who made their activations elsewhere. Never unpickles."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from bathyscope.errors import ArtifactError, ConfigError


class Pairs(NamedTuple):
    """Both sides of each pair, and what is known of them."""

    pairs_PTD: Tensor
    """[P, 2, D], as it was in the file; `shifts_of` checks the shape."""
    support_PC: Float[Tensor, "P C"] | None
    """1 where a concept changes, 0 where it stays, anything else where that is not known; None: nothing is known."""


def read_pairs(file: Path) -> Pairs:
    """The array in a `.npy` file, or `pairs` (and `support`) of a `.safetensors` file.

    Raises ArtifactError for a file that cannot be read, ConfigError for one that holds something else.
    """
    if not file.is_file():
        raise ArtifactError(f"{file} is not a file: give one with pairs [P, 2, D], as .npy or .safetensors")
    if file.suffix not in {".npy", ".safetensors"}:
        raise ConfigError(f"{file} ends in {file.suffix!r}: expected .npy or .safetensors")
    try:
        if file.suffix == ".npy":
            return Pairs(torch.from_numpy(np.load(file, allow_pickle=False)), None)
        tensors = load_file(file)
    except (ValueError, TypeError, EOFError, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{file} cannot be read as an array of numbers: {error}") from error
    if "pairs" not in tensors:
        raise ConfigError(
            f"{file} holds {', '.join(sorted(tensors)) or 'nothing'}: expected a tensor `pairs` [P, 2, D]"
        )
    support_PC = tensors.get("support")
    return Pairs(tensors["pairs"], None if support_PC is None else support_PC.float())
