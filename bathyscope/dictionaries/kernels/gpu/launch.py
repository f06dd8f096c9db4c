"""How a kernel is started: on the device of its tensors, and not at all where there is nothing to do."""

from typing import Any

import torch
from torch import Tensor


def launch(kernel: Any, grid: tuple[int, ...], like: Tensor, *arguments: Any, **constants: Any) -> None:
    """Run `kernel[grid](like, *arguments, **constants)`; an empty grid runs nothing."""
    if 0 not in grid:
        with torch.cuda.device_of(like):
            kernel[grid](like, *arguments, **constants)
