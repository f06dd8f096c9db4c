"""`hex_law`: tokens as frequent as in a long text of independent hexadecimal digits. Needs no corpus."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.inputs.recipes.positions import Position, law, start, texts_of_tokens

DIGITS = "0123456789abcdef"


def hex_law(tokenizer: Any, *, n_positions: int = 32) -> ProductTokens:
    """The start, then `n_positions` tokens of hexadecimal digits."""
    texts = {token: text for token, text in texts_of_tokens(tokenizer).items() if text and set(text) <= set(DIGITS)}
    if set("".join(text for text in texts.values() if len(text) == 1)) != set(DIGITS):
        raise ConfigError("the tokenizer has no token for some hexadecimal digit")
    ids = sorted(texts)
    share_K = stationary(transitions([texts[token] for token in ids], n_letters=len(DIGITS)))
    digits = Position(torch.tensor(ids), share_K.log())
    return law("hex", [start(tokenizer), *([digits] * n_positions)])


def transitions(words: Sequence[str], *, n_letters: int) -> Float[Tensor, "K K"]:
    """Row u, column v: the share of v among the words behind u when a random text is cut into longest words.

    ∝ n_letters^-|v| · (1 - Σ n_letters^-|m|), m over the shortest continuations of v with which v, or u and v together,
    would have been a longer word. To first order: longer words that begin in u and end within v are not looked at.
    """
    share_KK = torch.zeros(len(words), len(words), dtype=torch.float64)
    for row, before in enumerate(words):
        for column, word in enumerate(words):
            longer = {other[len(word) :] for other in words if other != word and other.startswith(word)}
            both = before + word
            longer |= {other[len(both) :] for other in words if other.startswith(both)}
            excluded = sum(n_letters ** -len(rest) for rest in shortest(longer))
            share_KK[row, column] = n_letters ** -len(word) * (1 - excluded)
    return share_KK / share_KK.sum(1, keepdim=True)


def shortest(words: set[str]) -> list[str]:
    """The words that do not begin with another of them."""
    found: list[str] = []
    for word in sorted(words, key=len):
        if not any(word.startswith(other) for other in found):
            found.append(word)
    return found


def stationary(share_KK: Float[Tensor, "K K"]) -> Float[Tensor, " K"]:
    """The law that a chain with these transitions comes to: π = π P, Σ π = 1, as one linear system."""
    n = len(share_KK)
    system_KK = torch.eye(n, dtype=torch.float64) - share_KK.T
    system_KK[-1] = 1
    right_K = torch.zeros(n, dtype=torch.float64)
    right_K[-1] = 1
    return torch.linalg.solve(system_KK, right_K)
