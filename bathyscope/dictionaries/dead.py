"""How long each feature has been silent, counted in tokens.

Tokens, not steps: the count means the same for every batch size. Whole numbers (int64): they stay exact when the rest
of a module is cast to half precision.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn


class Silence(nn.Module):
    """Tokens seen since each feature last fired."""

    tokens_F: Int[Tensor, " F"]

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("tokens_F", torch.zeros(n_features, dtype=torch.int64))

    def after(self, fires_F: Int[Tensor, " F"], n_tokens: int) -> Int[Tensor, " F"]:
        """The counts after a batch of `n_tokens` in which feature f fired `fires_F[f]` times; changes nothing."""
        return torch.where(fires_F > 0, 0, self.tokens_F + n_tokens)

    def update(self, fires_F: Int[Tensor, " F"], n_tokens: int) -> None:
        """Make the counts those of `after`."""
        self.tokens_F.copy_(self.after(fires_F, n_tokens))

    def dead(self, after_tokens: int) -> Bool[Tensor, " F"]:
        """Which features have been silent for at least `after_tokens`."""
        return self.tokens_F >= after_tokens
