"""`Cap`: no more than so much of a direction."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.steering.operations.directions import require_direction, unit
from bathyscope.steering.operations.place import AtHookpoint
from bathyscope.steering.operations.strength import Strength, require_strength


@dataclass(frozen=True, slots=True, eq=False)
class Cap(AtHookpoint):
    """Bring the part along a direction down to a bound where it is above: `x' = x - ReLU(x·u - most) u`."""

    direction_D: Float[Tensor, " D"]
    """Direction in the space of the hookpoint; its length is ignored."""
    most: Strength
    """Largest x·u that is left alone."""
    at: str
    """Hookpoint."""

    def __post_init__(self) -> None:
        require_direction(self.direction_D)
        require_strength(self.most, of="Cap")

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Minus what is above the bound; exact zeros below it."""
        unit_D = unit(self.direction_D, x_ND)
        return -torch.relu(x_ND @ unit_D - self.most.amount)[:, None] * unit_D
