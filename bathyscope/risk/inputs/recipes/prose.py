"""Laws over words: shouted, English, Spanish, and words in a pattern that the model can learn from its context."""

import string
from typing import Any

from jaxtyping import Int
from torch import Tensor

from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.inputs.recipes.positions import (
    Position,
    alike,
    frequent,
    law,
    spelled,
    start,
    texts_of_tokens,
    word,
)

MARKS = ",.?!:;"
LONE_MARKS = {",", ".", "!", "?", ";"}
PATTERN = "ARCTHEORY"
"""First letters of the words that the last law shows."""


def caps_law(tokenizer: Any, count_V: Int[Tensor, " V"], *, n_positions: int = 16, most: int = 1024) -> ProductTokens:
    """`He` or `She`, ` screamed: "`, then capitals and marks; `count_V` of English text."""
    shouted = frequent(count_V, "caps", texts=texts_of_tokens(tokenizer), keep=is_shouted, most=most)
    who = alike([word("He", tokenizer), word("She", tokenizer)])
    return law("caps", [start(tokenizer), who, *spelled(' screamed: "', tokenizer), *([shouted] * n_positions)])


def english_law(
    tokenizer: Any, count_V: Int[Tensor, " V"], *, n_positions: int = 24, most: int = 1 << 14
) -> ProductTokens:
    """A word, then words behind a space and marks; `count_V` of English text."""
    texts = texts_of_tokens(tokenizer)
    first = frequent(count_V, "english", texts=texts, keep=str.isalpha, most=most)
    others = frequent(count_V, "english", texts=texts, keep=is_word_or_mark, most=most)
    return law("english", [start(tokenizer), first, *([others] * n_positions)])


def spanish_law(
    tokenizer: Any, count_V: Int[Tensor, " V"], *, n_positions: int = 24, most: int = 1024
) -> ProductTokens:
    """Letters and spaces; `count_V` of Spanish text."""
    words = frequent(count_V, "spanish", texts=texts_of_tokens(tokenizer), keep=is_letters_or_space, most=most)
    return law("spanish", [start(tokenizer), *([words] * n_positions)])


def icl_law(tokenizer: Any, count_V: Int[Tensor, " V"]) -> ProductTokens:
    """`A for Apple R for River …` with nine random words, then a letter and ` for`; `count_V` of English text."""
    texts, behind = texts_of_tokens(tokenizer), alike([word(" for", tokenizer)])
    positions: list[Position] = [start(tokenizer)]
    for number, letter in enumerate(PATTERN):
        shown = alike([word(letter if number == 0 else f" {letter}", tokenizer)])
        named = {token: text for token, text in texts.items() if text[1:2].upper() == letter}
        positions += [shown, behind, frequent(count_V, f"icl ({letter})", texts=named, keep=is_long_word)]
    asked = alike(word(f" {letter}", tokenizer) for letter in string.ascii_uppercase)
    return law("icl", [*positions, asked, behind])


def is_shouted(text: str) -> bool:
    """Whether a text is two or more capitals and marks."""
    return len(text) > 1 and all(letter.isupper() or letter in MARKS for letter in text)


def is_word_or_mark(text: str) -> bool:
    """Whether a text is a space and letters or marks, or a mark alone."""
    is_word = len(text) > 1 and text[0] == " " and all(letter.isalpha() or letter in MARKS for letter in text[1:])
    return is_word or text in LONE_MARKS


def is_letters_or_space(text: str) -> bool:
    """Whether a text is letters and white space."""
    return bool(text) and all(letter.isalpha() or letter.isspace() for letter in text)


def is_long_word(text: str) -> bool:
    """Whether a text is a space and four or more letters."""
    return len(text) >= 5 and text[0] == " " and text[1:].isalpha()
