"""`Operation`: what `steer` accepts. Knows nothing of models, positions or generation."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Operation(Protocol):
    """What `steer` accepts: anything with a hookpoint and a delta."""

    @property
    def hookpoint(self) -> str:
        """Module name whose output is moved."""
        ...

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model that the directions come from, or None when any model will do."""
        ...

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The change to add to `x_ND` (float32), token by token; exact zeros where nothing is to change."""
        ...
