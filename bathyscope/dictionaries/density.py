"""Whether a batch is computed from its active pairs alone or from dense matrices: both give the same, one is faster."""

import logging

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.trainee import Loss

log = logging.getLogger(__name__)

SPARSE_SHARE = 0.25
"""Share of features that a token may have as pairs for the sparse path to be taken."""
MOST_LINES = 2
"""Lines about a change of path: one for each way. A run that wavers about the bound says no more."""


class Density(nn.Module):
    """Pairs per token of the last batch. Dense where no kernel finds pairs without writing all pre-activations."""

    n_pairs: Float[Tensor, ""]
    """Infinite until a batch or a sample was seen."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.register_buffer("n_pairs", torch.full((), torch.inf))
        self._said_sparse, self._n_lines = True, 0

    def begin_at(self, n_pairs: Float[Tensor, ""]) -> None:
        """Pairs per token of a sample."""
        self.n_pairs.copy_(n_pairs)

    def is_sparse(self, x_ND: Float[Tensor, "N D"]) -> bool:
        """Whether the next batch is expected to be faster from pairs. The log has a line when that changes."""
        if engine(x_ND) == "plain":
            return False
        n_pairs = float(self.n_pairs)
        is_sparse = n_pairs <= SPARSE_SHARE * self.n_features
        if n_pairs < float("inf"):
            self._say(n_pairs, is_sparse=is_sparse)
        return is_sparse

    def update(self, loss: Loss) -> None:
        """Take in a step whose loss recorded its `density`."""
        self.n_pairs.copy_(loss.seen["density"])

    def _say(self, n_pairs: float, *, is_sparse: bool) -> None:
        """Once when steps become dense, and once when they are sparse again."""
        if is_sparse == self._said_sparse or self._n_lines == MOST_LINES:
            return
        self._said_sparse, self._n_lines = is_sparse, self._n_lines + 1
        many, way = f"{n_pairs:,.0f} of {self.n_features:,} features a token", "sparse again" if is_sparse else "dense"
        bound = f"sparse steps pay up to {SPARSE_SHARE * self.n_features:,.0f}"
        log.info("%s: steps are %s from here (%s)", many, way, bound)
