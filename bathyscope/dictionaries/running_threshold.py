"""The threshold of kinds that select over a batch: a running average of the least kept code (arXiv 2412.06410).

θ = (Σ_i (1 - r)^(t-i) · m_i) / (Σ_i (1 - r)^(t-i)),  m_i the least kept code of batch i

Divided by the sum of its weights, it is right from the first batch on. It stays float32 whatever the rest of a module
is cast to: in bfloat16 a change of one part in a hundred would round to none.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError

EQUAL = 1e-4
"""Relative difference up to which the thresholds of a dictionary count as one."""


def least_kept(values_NK: Float[Tensor, "N K"]) -> Float[Tensor, ""]:
    """The least value above 0, without gradient; infinity when there is none."""
    values_NK = values_NK.detach()
    return torch.where(values_NK > 0, values_NK, torch.inf).amin()


def single_threshold(weights: Weights) -> Float[Tensor, ""]:
    """The one threshold of all features of a dictionary whose rule uses one. Raises ConfigError when they differ."""
    assert weights.threshold is not None, "a dictionary whose rule uses a threshold holds one"
    least, most = float(weights.threshold.min()), float(weights.threshold.max())
    if not 0 < most <= (1 + EQUAL) * least:
        raise ConfigError(
            f"the dictionary to start from has thresholds from {least:.4g} to {most:.4g}, "
            "this kind holds a single positive one"
        )
    return weights.threshold.mean()


class RunningThreshold(nn.Module):
    """A threshold that follows the batches."""

    total: Float[Tensor, ""]
    """Weighted sum of the least kept codes, float32."""
    weight: Float[Tensor, ""]
    """Sum of their weights, float32; 0 while the threshold is unset."""

    def __init__(self, rate: float) -> None:
        """`rate` is the share r of the newest batch in a long average."""
        super().__init__()
        self.rate = rate
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    def update(self, least: Float[Tensor, ""]) -> None:
        """Take in a batch's least kept code; one that is not finite (a batch without kept codes) is passed over."""
        counts = least.isfinite()
        least = torch.where(counts, least, 0).float()
        self.total.copy_(torch.where(counts, torch.lerp(self.total, least, self.rate), self.total))
        self.weight.copy_(torch.where(counts, torch.lerp(self.weight, torch.ones_like(least), self.rate), self.weight))

    def set(self, threshold: Float[Tensor, ""]) -> None:
        """Make the threshold `threshold`, with the weight of a long past."""
        self.total.copy_(threshold)
        self.weight.fill_(1)

    def read(self) -> Float[Tensor, ""]:
        """θ. Raises ConfigError while it is unset."""
        if not bool(self.weight > 0):
            raise ConfigError(
                "the threshold is unset: no batch with a positive pre-activation was seen; call start with a sample of "
                "activations, or train for a step, before encoding or folding"
            )
        return self.total / self.weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Follow the module to another device, never to another number format."""
        for name, buffer in list(self._buffers.items()):
            assert buffer is not None, "both buffers are registered"
            self._buffers[name] = buffer.to(fn(buffer).device)
        return self
