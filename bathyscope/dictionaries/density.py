"""Whether a batch is computed from its active pairs alone or from dense matrices: both give the same, one is faster."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.trainee import Loss

SPARSE_SHARE = 0.25
"""Share of features that a token may have as pairs for the sparse path to be taken."""


class Density(nn.Module):
    """Pairs per token of the last batch. Dense where no kernel finds pairs without writing all pre-activations."""

    n_pairs: Float[Tensor, ""]
    """Infinite until a batch or a sample was seen."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.register_buffer("n_pairs", torch.full((), torch.inf))

    def begin_at(self, n_pairs: Float[Tensor, ""]) -> None:
        """Pairs per token of a sample."""
        self.n_pairs.copy_(n_pairs)

    def is_sparse(self, x_ND: Float[Tensor, "N D"]) -> bool:
        """Whether the next batch is expected to be faster from pairs."""
        return engine(x_ND) != "plain" and float(self.n_pairs) <= SPARSE_SHARE * self.n_features

    def update(self, loss: Loss) -> None:
        """Take in a step whose loss recorded its `density`."""
        self.n_pairs.copy_(loss.seen["density"])
