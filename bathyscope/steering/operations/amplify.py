"""`Amplify`: scale what is present of some features."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.steering.numbers import require_number
from bathyscope.steering.operations.features import codes_of, require_features
from bathyscope.steering.operations.place import OfDictionary


@dataclass(frozen=True, slots=True)
class Amplify(OfDictionary):
    """Scale what is present of some features: `X' = X + α·ReLU(X S) Sᵀ`, S = chosen unit decoder rows as columns.

    α = -1 erases a single direction or orthogonal ones: ReLU(X' S) = 0 afterwards; of directions that are not
    orthogonal something is left, and `ProjectOut` takes all of it. α = 0 changes nothing (Wu et al. 2025, arXiv
    2502.15576). With `read="encoder"` the dictionary's own codes take the place of ReLU(X S):
    `x + α Σ_f c_f(x) d_f`, the form for dictionaries whose encoder is not the decoder's transpose.
    """

    dictionary: Dictionary
    """Where the directions (and the encoder) come from."""
    features: tuple[int, ...] | list[int]
    """Feature numbers to scale."""
    alpha: float
    """Multiple of what is present to add: -1 erases, 1 doubles."""
    read: Literal["directions", "encoder"] = "directions"
    """What counts as present: the projection on the directions, or the dictionary's codes."""

    def __post_init__(self) -> None:
        require_features(self.dictionary, self.features)
        require_number(self.alpha, "alpha")
        if self.read not in ("directions", "encoder"):
            raise ConfigError(f"read is {self.read!r}, expected directions or encoder")

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """α times the present part of the features, along their directions."""
        directions_MD = self.dictionary.W_dec[list(self.features)]
        if self.read == "directions":
            present_NM = torch.relu(x_ND @ directions_MD.T)
        else:
            present_NM = codes_of(self.dictionary, x_ND, self.features)
        return self.alpha * (present_NM @ directions_MD)
