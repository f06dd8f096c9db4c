"""A random language to train small networks on: each token follows from a mix of those before it.

P(x_t = v | x_<t) ∝ exp(bias_v + sharpness · ⟨out_v, h_t⟩ / √rank),   h_t = Σ_{l < order} decay^l · table_l(x_{t−1−l})

All vectors are standard normal; the nearest token has a table of its own, all earlier ones share another. `order` 2 is
a second-order Markov chain. Token 0 begins every text and never follows.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.world import own_seed
from bathyscope.risk.worlds.gpt2 import BOS


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomLanguageSettings:
    """Settings of a `Language`."""

    n_vocabulary: int = 384
    """Tokens, the beginning of text included."""
    order: int = 2
    """How many tokens back a token depends on."""
    decay: float = 0.7
    """How much less each token further back counts."""
    rank: int = 16
    """Length of the hidden vectors."""
    sharpness: float = 2.0
    """How much the tokens before decide: 0 is unigram text."""
    zipf: float = 1.0
    """Exponent of the unconditional law: the r-th token has a bias of −zipf · log r."""
    seed: int = 0
    """Seed of all vectors and of the order of biases."""

    def __post_init__(self) -> None:
        if self.n_vocabulary < 2 or min(self.order, self.rank) < 1:
            raise ConfigError("a language needs at least 2 tokens, an order and a rank of at least 1")


class Language:
    """The vectors that the settings and their seed give."""

    def __init__(self, settings: RandomLanguageSettings) -> None:
        generator = torch.Generator().manual_seed(own_seed("language", settings.seed))
        n, rank = settings.n_vocabulary, settings.rank
        self.settings = settings
        self._tables_2VR = torch.randn(2, n, rank, generator=generator)
        self._out_RV = torch.randn(rank, n, generator=generator) * settings.sharpness / rank**0.5
        ranks_V = torch.randperm(n, generator=generator) + 1
        self._bias_V = -settings.zipf * ranks_V.float().log()
        self._bias_V[BOS] = -torch.inf

    def sample(self, n: int, length: int, *, generator: torch.Generator) -> Int[Tensor, "n length"]:
        """`n` texts of `length` tokens, the beginning of text included."""
        tokens_NS = torch.full((n, length), BOS)
        for position in range(1, length):
            p_NV = self.probabilities(tokens_NS[:, :position])
            tokens_NS[:, position] = torch.multinomial(p_NV, 1, generator=generator)[:, 0]
        return tokens_NS

    def probabilities(self, tokens_NS: Int[Tensor, "N S"]) -> Float[Tensor, "N V"]:
        """The law of the token after these."""
        hidden_NR = self._tables_2VR[0, tokens_NS[:, -1]]
        for lag in range(1, min(self.settings.order, tokens_NS.shape[1])):
            hidden_NR = hidden_NR + self.settings.decay**lag * self._tables_2VR[1, tokens_NS[:, -1 - lag]]
        return (self._bias_V + hidden_NR @ self._out_RV).softmax(1)
