"""The encoder's matrix product alone, into a buffer that is there: what no step with a dense encoder can be below."""

from typing import Any

import torch
from torch import Tensor
from train.task import Task


def versions() -> dict[str, str]:
    """Nothing but torch."""
    return {}


def build(task: Task, sample_ND: Tensor, variant: str) -> "Product":
    """Weights and buffer."""
    return Product(task)


class Product:
    """`torch.mm(x, W_enc, out=…)`."""

    def __init__(self, task: Task) -> None:
        generator = torch.Generator().manual_seed(task.seed)
        self.W_enc_FD = torch.randn(task.n_features, task.d_model, generator=generator)
        self.pre_NF = torch.empty(task.batch, task.n_features)
        self.settings: dict[str, Any] = {}

    def step(self, x_ND: Tensor) -> None:
        """The product of one batch."""
        torch.mm(x_ND, self.W_enc_FD.T, out=self.pre_NF)

    def figures(self) -> dict[str, float]:
        """None."""
        return {}
