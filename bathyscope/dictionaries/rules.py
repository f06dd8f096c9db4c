"""Which features are kept: the last step of encoding, from pre-activations to codes.

Each rule is a frozen value that goes into `config.json`. A new rule is one class here and one entry in `Rule`.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels.select import select_largest
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Positive:
    """Keep what is positive: `c = ReLU(pre)`."""

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """Codes of every positive pre-activation."""
        return Codes.from_dense(pre_NF.relu())


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """Keep the k largest per token, then what is positive among them: `c = ReLU(top-k(pre))`."""

    k: int
    """Most active features per token; fewer where fewer than k pre-activations are positive."""

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """Codes of the k largest pre-activations; equal ones are kept in order of the feature number on a CPU."""
        return Codes(*select_largest(pre_NF, self.k), pre_NF.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    """Keep what is above each feature's threshold: `c = ReLU(pre)·1[pre > θ]`, strictly."""

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """Codes of every pre-activation above its threshold."""
        if threshold_F is None:
            raise ConfigError("this dictionary keeps what is above a threshold, but holds no threshold")
        return Codes.from_dense(pre_NF.relu() * (pre_NF > threshold_F))


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestAbsolute:
    """Keep the k entries of largest size per token, with their sign and without ReLU (arXiv 2510.00404)."""

    k: int
    """Active features per token."""

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """Signed codes; on a CPU equal sizes are kept in order of the feature number."""
        indices_NK = select_largest(pre_NF.detach().abs(), self.k).indices_NK
        return Codes(pre_NF.gather(1, indices_NK), indices_NK, pre_NF.shape[1])


Rule = Positive | Largest | LargestAbsolute | Above
"""Every way to go from pre-activations to codes."""
