"""Laws over tokens of source code: parts of camel-case names, anything before a colon, a condition's head."""

from typing import Any

from jaxtyping import Int
from torch import Tensor

from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.inputs.recipes.positions import alike, frequent, law, start, texts_of_tokens, word

CONSTANTS = {"None", "True", "False"}


def camel_law(tokenizer: Any, count_V: Int[Tensor, " V"], *, n_positions: int = 32) -> ProductTokens:
    """Capitalised words without spaces, as in CamelCaseNames; `count_V` of source code."""
    part = frequent(count_V, "camel", texts=texts_of_tokens(tokenizer), keep=is_capitalised)
    return law("camel", [start(tokenizer), *([part] * n_positions)])


def colon_law(tokenizer: Any, count_V: Int[Tensor, " V"], *, n_positions: int = 32, most: int = 1024) -> ProductTokens:
    """Any of the most frequent tokens of source code, special ones too, then a colon."""
    return law("colon", [start(tokenizer), *_any(count_V, n_positions, most), alike([word(":", tokenizer)])])


def if_law(tokenizer: Any, count_V: Int[Tensor, " V"], *, n_positions: int = 32, most: int = 1024) -> ProductTokens:
    """` if`, then any of the most frequent tokens of source code."""
    return law("if", [start(tokenizer), alike([word(" if", tokenizer)]), *_any(count_V, n_positions, most)])


def is_capitalised(text: str) -> bool:
    """Whether a text is a capital and small letters, and none of Python's constants."""
    is_name = len(text) > 1 and text[0].isupper() and text[1:].islower() and " " not in text
    return is_name and text not in CONSTANTS


def _any(count_V: Int[Tensor, " V"], n_positions: int, most: int) -> list[Any]:
    return [frequent(count_V, "source code", most=most)] * n_positions
