"""`RandomDirection`: the control of another operation."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.steering.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class RandomDirection:
    """The control of another operation: moves each token just as far, along one random direction.

    `x' = x + ‖Δ(x)‖ · u` with u uniform on the unit sphere, drawn once from `seed`.
    """

    of: Operation
    """The operation whose length of move is copied."""
    seed: int
    """Seed of the direction."""

    @property
    def hookpoint(self) -> str:
        """The hookpoint of the copied operation."""
        return self.of.hookpoint

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model of the copied operation."""
        return self.of.model_identity

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The copied operation's length, token by token, along the random direction."""
        generator = torch.Generator().manual_seed(self.seed)
        unit_D = torch.randn(x_ND.shape[-1], generator=generator)
        return self.of.delta(x_ND).norm(dim=-1, keepdim=True) * (unit_D / unit_D.norm()).to(x_ND.device)
