"""`Add`: a fixed vector."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bathyscope.steering.operations.directions import require_direction, unit
from bathyscope.steering.operations.place import AtHookpoint
from bathyscope.steering.operations.strength import Strength, require_strength


@dataclass(frozen=True, slots=True, eq=False)
class Add(AtHookpoint):
    """Add a fixed vector: `x' = x + strength · u`, u = `direction_D` scaled to unit length."""

    direction_D: Float[Tensor, " D"]
    """Direction in the space of the hookpoint; its length is ignored."""
    strength: Strength
    """Length of the added vector."""
    at: str
    """Hookpoint."""

    def __post_init__(self) -> None:
        require_direction(self.direction_D)
        require_strength(self.strength, of="Add")

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The same vector for every token."""
        return (self.strength.amount * unit(self.direction_D, x_ND)).expand_as(x_ND)
