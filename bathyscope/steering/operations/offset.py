"""`Offset`: a vector with a length of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offset:
    """Add a vector as it is: `x' = x + v`. What a saved vector becomes at a strength."""

    vector_D: Float[Tensor, " D"]
    """v, in units of the activations; zero changes nothing."""
    hookpoint: str
    """Where it is added."""
    model_identity: Mapping[str, str] | None = None
    """The model that it was learnt from, or None when any model will do."""

    def __post_init__(self) -> None:
        if self.vector_D.ndim != 1:
            raise ConfigError(f"an offset is one finite vector [D], found shape {tuple(self.vector_D.shape)}")
        if not bool(self.vector_D.isfinite().all()):
            raise ConfigError(
                "an offset is one finite vector [D], found values that are not finite; lower the strength"
            )

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The same vector for every token."""
        return self.vector_D.float().to(x_ND.device).expand_as(x_ND)
