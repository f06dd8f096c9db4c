"""`Enforce`: see to it that some features are active, at the same length of the activation."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.steering.operations.features import pre_of, require_features
from bathyscope.steering.operations.place import OfDictionary
from bathyscope.steering.operations.strength import Strength, require_strength


@dataclass(frozen=True, slots=True)
class Enforce(OfDictionary):
    """Add m, shared out among the features that lack most of it, and bring x back to its length.

        h = pre-activations of the features     g = ReLU(m - ReLU(h))
        x' = x + m · Σ_f (g_f / Σ g) d_f        x' ← x' · ‖x‖ / ‖x'‖

    The variant that the code of Wu et al. 2025 (arXiv 2502.15576) applies. Where no feature lacks anything (Σ g = 0)
    nothing is changed.
    """

    dictionary: Dictionary
    """Where encoder and directions come from."""
    features: tuple[int, ...] | list[int]
    """Feature numbers."""
    least: Strength
    """m, what every feature should have."""

    def __post_init__(self) -> None:
        require_features(self.dictionary, self.features)
        require_strength(self.least, of="Enforce")

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The move that keeps the length; exact zeros where nothing is lacking."""
        m = self.least.amount
        lacking_NM = torch.relu(m - torch.relu(pre_of(self.dictionary, x_ND, self.features)))
        total_N1 = lacking_NM.sum(1, keepdim=True)
        shared_NM = lacking_NM / total_N1.clamp_min(1e-30)
        moved_ND = x_ND + m * (shared_NM @ self.dictionary.W_dec[list(self.features)])
        kept_ND = moved_ND * (x_ND.norm(dim=1, keepdim=True) / moved_ND.norm(dim=1, keepdim=True).clamp_min(1e-30))
        return torch.where(total_N1 > 0, kept_ND - x_ND, torch.zeros_like(x_ND))
