"""`Calibrate`: take what is present of some features away, and put the middle of them in its place."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.steering.operations.features import require_features
from bathyscope.steering.operations.place import OfDictionary
from bathyscope.steering.operations.strength import Strength, require_strength


@dataclass(frozen=True, slots=True)
class Calibrate(OfDictionary):
    """`X' = X - ReLU(X S) Sᵀ + β·s̄`: what is present goes, β times the mean direction s̄ of the features comes.

    S holds the features' unit decoder rows as columns (Wu et al. 2025, arXiv 2502.15576). β = 0 is `Amplify` with
    α = -1.
    """

    dictionary: Dictionary
    """Where the directions come from."""
    features: tuple[int, ...] | list[int]
    """Feature numbers."""
    beta: Strength
    """β, of a mean of unit rows: it is shorter than 1 the more the features differ."""

    def __post_init__(self) -> None:
        require_features(self.dictionary, self.features)
        require_strength(self.beta, of="Calibrate")

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Minus the present part, plus β times the mean direction."""
        directions_MD = self.dictionary.W_dec[list(self.features)]
        present_NM = torch.relu(x_ND @ directions_MD.T)
        return self.beta.amount * directions_MD.mean(0) - present_NM @ directions_MD
