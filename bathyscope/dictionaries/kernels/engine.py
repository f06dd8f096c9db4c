"""Which code takes a tensor: compiled for a CPU, Triton on a GPU, plain PyTorch otherwise.

Triton is optional. Without it a GPU runs the plain references: the same numbers in more time and memory.
"""

import importlib.util
import logging
from functools import cache
from typing import Literal

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Engine = Literal["compiled", "triton", "plain"]

COMPILED = (torch.float32, torch.float64)
"""Element types that the compiled kernels take, on a CPU."""
TRITON = (torch.float32, torch.bfloat16, torch.float16)
"""Element types that the Triton kernels take, on a GPU; sums are float32 in all of them."""
TRITON_DEVICES = ("cuda",)
"""Types of device that the Triton kernels are for."""


def engine(x: Tensor) -> Engine:
    """What computes with a tensor on this device and of this element type."""
    if x.device.type in TRITON_DEVICES and x.dtype in TRITON and has_triton():
        return "triton"
    return "compiled" if x.device.type == "cpu" and x.dtype in COMPILED else "plain"


@cache
def has_triton() -> bool:
    """Whether Triton is installed; asked once, and the log says once when it is missed."""
    is_there = importlib.util.find_spec("triton") is not None
    if not is_there:
        log.warning("Triton is not installed: on this GPU dictionaries run in plain PyTorch, slower and in more memory")
    return is_there
