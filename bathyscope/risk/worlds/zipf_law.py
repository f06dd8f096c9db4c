"""Laws of inputs for the worlds: the beginning of text, then positions with random tokens of Zipfian weight."""

from dataclasses import dataclass

import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.world import own_seed
from bathyscope.risk.inputs.product import ProductTokens, fixed
from bathyscope.risk.worlds.gpt2 import BOS


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipfLawSettings:
    """Settings of `zipf_law`."""

    n_positions: int = 4
    """Positions after the beginning of text."""
    n_options: int = 24
    """Tokens that can stand at each, drawn anew for every position."""
    exponent: float = 1.3
    """Weight of the option of rank r = 0, 1, … is (1 + r)^−exponent."""
    seed: int = 0
    """Seed of the options and of their ranks."""

    def __post_init__(self) -> None:
        if min(self.n_positions, self.n_options) < 1:
            raise ConfigError("a law has at least one position and one option")


def zipf_law(settings: ZipfLawSettings, *, n_vocabulary: int) -> ProductTokens:
    """The law over a vocabulary whose token 0 begins every text. Raises ConfigError for more options than tokens."""
    if settings.n_options >= n_vocabulary:
        raise ConfigError(f"{settings.n_options} options of a vocabulary of {n_vocabulary}: expected fewer")
    generator = torch.Generator().manual_seed(own_seed("zipf law", settings.seed))
    weight_K = torch.arange(1, settings.n_options + 1, dtype=torch.float64) ** -settings.exponent
    log_p_K = (weight_K / weight_K.sum()).log()
    support, log_p = fixed([BOS])
    for _ in range(settings.n_positions):
        ids_K = 1 + torch.randperm(n_vocabulary - 1, generator=generator)[: settings.n_options]
        order_K = ids_K.argsort()
        support, log_p = (*support, ids_K[order_K]), (*log_p, log_p_K[order_K])
    return ProductTokens(support=support, log_p=log_p, name=f"zipf-{settings.seed}")
