"""`ProductTokens`: sequences whose positions are independent, each with its own law over tokens.

The law of Wu and Hilton (arXiv 2410.13211): P(x) = ∏_i D_i(x_i). Stored as data: ids and log-probabilities.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.risk.inputs.law import draw, log_prob

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProductTokens:
    """One categorical law per position; a fixed token is a law with one option."""

    support: tuple[Int[Tensor, " _"], ...]
    """For each position the token ids that can stand there, ascending, int64."""
    log_p: tuple[Float[Tensor, " _"], ...]
    """For each position the natural logarithms of their probabilities, float64."""
    name: str = "product"
    """What the law is called in reports."""

    def __post_init__(self) -> None:
        if not self.support or len(self.support) != len(self.log_p):
            raise ConfigError(
                f"{self.name}: {len(self.support)} supports and {len(self.log_p)} laws; give one of each per position"
            )
        for position, (ids_K, log_p_K) in enumerate(zip(self.support, self.log_p, strict=True)):
            _require_law(f"{self.name}, position {position}", ids_K, log_p_K)

    @property
    def n_positions(self) -> int:
        """S, tokens of every row."""
        return len(self.support)

    @property
    def sha256(self) -> str:
        """Digest of supports and probabilities."""
        digest = hashlib.sha256()
        for tensor in (*self.support, *self.log_p):
            digest.update(len(tensor).to_bytes(8, "little") + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def sample(self, n: int, generator: torch.Generator) -> Int[Tensor, "N S"]:
        """`n` independent rows of token ids."""
        return self.tokens(draw(self, n, generator=generator))

    def log_prob(self, tokens_NS: Int[Tensor, "N S"]) -> Float[Tensor, " N"]:
        """Natural logarithm of each row's probability, float64. Raises ConfigError for a token outside its support."""
        return log_prob(self, self.choices(tokens_NS))

    def tokens(self, choices_NC: Int[Tensor, "N C"]) -> Int[Tensor, "N C"]:
        """Token ids from numbers of options."""
        columns = [ids_K[chosen_N] for ids_K, chosen_N in zip(self.support, choices_NC.unbind(1), strict=True)]
        return torch.stack(columns, dim=1)

    def choices(self, tokens_NS: Int[Tensor, "N S"]) -> Int[Tensor, "N S"]:
        """Numbers of options from token ids. Raises ConfigError for a token outside its position's support."""
        if tokens_NS.shape[1] != self.n_positions:
            raise ConfigError(f"{self.name}: rows of {tokens_NS.shape[1]} tokens, expected {self.n_positions}")
        columns: list[Tensor] = []
        for position, (ids_K, tokens_N) in enumerate(zip(self.support, tokens_NS.unbind(1), strict=True)):
            found_N = torch.searchsorted(ids_K, tokens_N.contiguous()).clamp(max=len(ids_K) - 1)
            strange = tokens_N[ids_K[found_N] != tokens_N]
            if len(strange):
                raise ConfigError(f"{self.name}: token {int(strange[0])} cannot stand at position {position}")
            columns.append(found_N)
        return torch.stack(columns, dim=1)

    def rows(self, choices_NC: Int[Tensor, "N C"]) -> list[list[int]]:
        """The token ids that each row of choices stands for."""
        return self.tokens(choices_NC).tolist()

    def inputs(self, model: Model, choices_NC: Int[Tensor, "N C"]) -> Mapping[str, Any]:
        """`input_ids`; no row is padded."""
        return {"input_ids": self.tokens(choices_NC).to(model.device)}


def fixed(ids: Sequence[int]) -> tuple[tuple[Int[Tensor, " _"], ...], tuple[Float[Tensor, " _"], ...]]:
    """Supports and laws of positions that always hold these tokens."""
    return (
        tuple(torch.tensor([token]) for token in ids),
        tuple(torch.zeros(1, dtype=torch.float64) for _ in ids),
    )


def _require_law(where: str, ids_K: Tensor, log_p_K: Tensor) -> None:
    if ids_K.dtype != torch.int64 or log_p_K.dtype != torch.float64 or ids_K.shape != log_p_K.shape:
        raise ConfigError(f"{where}: expected int64 ids and as many float64 log-probabilities")
    if not len(ids_K) or bool((ids_K.diff() <= 0).any()) or int(ids_K[0]) < 0:
        raise ConfigError(f"{where}: token ids must ascend, none twice, none negative, at least one")
    total = float(log_p_K.exp().sum())
    if not abs(total - 1) < TOLERANCE:  # also when a probability is NaN
        raise ConfigError(f"{where}: probabilities sum to {total}, expected 1; normalise them")
