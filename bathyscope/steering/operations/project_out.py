"""`ProjectOut`: take directions away altogether."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.steering.operations.directions import orthonormal, require_direction
from bathyscope.steering.operations.place import AtHookpoint


@dataclass(frozen=True, slots=True, eq=False)
class ProjectOut(AtHookpoint):
    """Take out everything that lies in the span of some directions: `x' = x - x Qᵀ Q`, Q an orthonormal basis of it.

    Directional ablation (Arditi et al. 2024, arXiv 2406.11717) for one direction; for several that are not orthogonal
    it is the least-squares erase, after which no product with any of them is left.
    """

    directions_MD: Float[Tensor, "M D"]
    """Directions in the space of the hookpoint; lengths are ignored."""
    at: str
    """Hookpoint."""
    _basis_RD: Float[Tensor, "R D"] = field(init=False, repr=False)
    """Orthonormal basis of the span, made once."""

    def __post_init__(self) -> None:
        if not isinstance(self.directions_MD, Tensor):
            raise ConfigError(f"directions are one tensor [M, D], found a {type(self.directions_MD).__name__}")
        if self.directions_MD.ndim != 2 or len(self.directions_MD) == 0:
            raise ConfigError(f"directions have shape {tuple(self.directions_MD.shape)}, expected [M, D]: one per row")
        for direction_D in self.directions_MD:
            require_direction(direction_D)
        object.__setattr__(self, "_basis_RD", orthonormal(self.directions_MD))

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Minus the part in the span."""
        basis_RD = self._basis_RD.to(x_ND.device)
        return -(x_ND @ basis_RD.T) @ basis_RD
