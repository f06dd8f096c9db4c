"""`Offset`: a vector with a length of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bathyscope.steering.operations.directions import require_direction


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offset:
    """Add a vector as it is: `x' = x + v`. What a saved vector becomes at a strength."""

    vector_D: Float[Tensor, " D"]
    """v, in units of the activations."""
    hookpoint: str
    """Where it is added."""
    model_identity: Mapping[str, str] | None = None
    """The model that it was learnt from, or None when any model will do."""

    def __post_init__(self) -> None:
        require_direction(self.vector_D, name="an offset")

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The same vector for every token."""
        return self.vector_D.float().to(x_ND.device).expand_as(x_ND)
