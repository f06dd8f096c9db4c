"""Codes: which features are active in each token, and how much.

Knows nothing of how codes are made or what they stand for.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError

FIRES_ROWS = 256
"""Tokens of a dense form that are counted at once on a CPU, where a sum of booleans first writes them as int64."""


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Sparse codes of N tokens as K (value, feature) pairs each, padded with value 0 at feature 0.

    A feature is active where its value is not 0 (signed codes exist); a token may have fewer than K active features.
    Memory: 12 bytes per pair in float32, so N·K·12 where K is the largest number of active features of any token.
    """

    values_NK: Float[Tensor, "N K"]
    """Values; 0 for padding and for selected features that do not fire."""
    indices_NK: Int[Tensor, "N K"]
    """Feature numbers (int64)."""
    n_features: int
    """F, the width of the dense form."""

    def __post_init__(self) -> None:
        if self.values_NK.shape != self.indices_NK.shape or self.values_NK.ndim != 2:
            shapes = f"{tuple(self.values_NK.shape)} and {tuple(self.indices_NK.shape)}"
            raise ConfigError(f"codes need values and indices of one shape [N, K], found {shapes}")

    def dense(self) -> Float[Tensor, "N F"]:
        """The codes as a dense matrix; differentiable in the values. N·F·4 bytes."""
        zeros_NF = self.values_NK.new_zeros(len(self.values_NK), self.n_features)
        return zeros_NF.scatter_add(1, self.indices_NK, self.values_NK)

    @staticmethod
    def from_dense(codes_NF: Float[Tensor, "N F"]) -> "Codes":
        """Codes with K = the largest number of non-zero entries in a row; features in rising order, padding last."""
        active_NF = codes_NF != 0
        n_active_N = active_NF.sum(1)
        n, k = len(codes_NF), int(n_active_N.max()) if codes_NF.numel() else 0
        rows_M, features_M = active_NF.nonzero(as_tuple=True)
        first_N = n_active_N.cumsum(0) - n_active_N
        slots_M = torch.arange(len(rows_M), device=codes_NF.device) - first_N[rows_M]
        indices_NK = torch.zeros(n, k, dtype=torch.int64, device=codes_NF.device)
        indices_NK[rows_M, slots_M] = features_M
        real_NK = torch.arange(k, device=codes_NF.device) < n_active_N[:, None]
        values_NK = codes_NF.gather(1, indices_NK) * real_NK
        return Codes(values_NK, indices_NK, codes_NF.shape[1])

    @staticmethod
    def concatenate(parts: "list[Codes]", n_features: int) -> "Codes":
        """The tokens of all parts in order, padded to the widest."""
        k = max(part.values_NK.shape[1] for part in parts)
        values = [torch.nn.functional.pad(part.values_NK, (0, k - part.values_NK.shape[1])) for part in parts]
        indices = [torch.nn.functional.pad(part.indices_NK, (0, k - part.indices_NK.shape[1])) for part in parts]
        return Codes(torch.cat(values), torch.cat(indices), n_features)

    def fires(self) -> Int[Tensor, " F"]:
        """Number of tokens in which each feature is active (≠ 0), int64."""
        active_M = (self.values_NK != 0).flatten().to(torch.int64)
        zeros_F = torch.zeros(self.n_features, dtype=torch.int64, device=active_M.device)
        return zeros_F.scatter_add_(0, self.indices_NK.flatten(), active_M)

    def l0(self) -> float:
        """Mean number of active features (≠ 0) per token; 0 for no tokens."""
        return float((self.values_NK != 0).sum()) / max(len(self.values_NK), 1)


def fires_of(codes_NF: Float[Tensor, "N F"]) -> Int[Tensor, " F"]:
    """Number of tokens in which each feature of a dense form is active (≠ 0), int64. N·F bytes on the way."""
    is_active_NF = codes_NF.detach() != 0
    if is_active_NF.device.type != "cpu":
        return is_active_NF.sum(0)
    fires_F = torch.zeros(is_active_NF.shape[1], dtype=torch.int64)
    for is_active_RF in is_active_NF.split(FIRES_ROWS):
        fires_F += is_active_RF.sum(0)
    return fires_F
