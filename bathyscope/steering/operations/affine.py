"""`Affine`: an affine map of the coordinate along a direction."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bathyscope.steering.numbers import require_number
from bathyscope.steering.operations.directions import require_direction, unit
from bathyscope.steering.operations.place import AtHookpoint
from bathyscope.steering.operations.strength import Strength, require_strength


@dataclass(frozen=True, slots=True, eq=False)
class Affine(AtHookpoint):
    """Map the coordinate along a direction: `x' = x + ((scale - 1)·(x·u) + shift) u`.

    scale 0 with a shift holds the coordinate at the shift, whatever it was; scale 1 is `Add`; scale 0 and no shift
    takes the direction out.
    """

    direction_D: Float[Tensor, " D"]
    """Direction in the space of the hookpoint; its length is ignored."""
    scale: float
    """Factor of what is there."""
    shift: Strength | None
    """What is added to it; None is nothing."""
    at: str
    """Hookpoint."""

    def __post_init__(self) -> None:
        require_direction(self.direction_D)
        require_number(self.scale, "scale")
        if self.shift is not None:
            require_strength(self.shift, of="Affine")

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The move of the coordinate, along the direction."""
        unit_D = unit(self.direction_D, x_ND)
        shift = 0.0 if self.shift is None else self.shift.amount
        return ((self.scale - 1) * (x_ND @ unit_D) + shift)[:, None] * unit_D
