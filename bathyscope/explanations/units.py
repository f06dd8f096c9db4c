"""Units of text: what an explanation that is read off a text may name at each token.

A unit is a word whatever its case, or a token without letters (a sign: punctuation, digits, a line break). Special
tokens are none. Knows nothing of features.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from bathyscope.explanations.vocabulary import folded
from bathyscope.features.tokens import TokenTable
from bathyscope.features.words import text_words

SPACE, NEWLINE = "␣", "⏎"
"""How white space that is nothing else is shown."""
_SPACES = str.maketrans({" ": SPACE, "\n": NEWLINE, "\t": "⇥", "\r": "↵"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TextUnits:
    """The units of a text, most frequent first (ties in alphabetical order)."""

    names: tuple[str, ...]
    """Words as they are written most often; signs without the spaces around them, or with signs for these."""
    counts: Int[np.ndarray, " U"]
    """Tokens of each sign and occurrences of each word."""
    is_word: Bool[np.ndarray, " U"]
    of_token: Int[np.ndarray, " T"]
    """Number of each token's unit; −1 for a special token."""


def text_units(tokens: Int[np.ndarray, " T"], documents: Int[np.ndarray, " T"], table: TokenTable) -> TextUnits:
    """The units of a token stream."""
    text = text_words(tokens, documents, table)
    written = dict(zip(text.words, text.counts.tolist(), strict=True))
    names = {name.casefold(): (name, count, True) for name, count in folded(written).items()}
    keys = np.array([*(word.casefold() for word in text.words), ""], dtype=object)[text.word_of_token]
    others = np.flatnonzero(text.word_of_token < 0)
    ids, place, counts = np.unique(tokens[others], return_inverse=True, return_counts=True)
    signs = [
        "" if i in table.special else shown(name)
        for i, name in zip(ids.tolist(), table.strings(ids.tolist()), strict=True)
    ]
    keys[others] = np.array(signs, dtype=object)[place]
    for sign, count in zip(signs, counts.tolist(), strict=True):
        names[sign] = (sign, names.get(sign, ("", 0, False))[1] + count, False)
    names.pop("", None)
    ranked = sorted(names, key=lambda key: (-names[key][1], key))
    number = {key: i for i, key in enumerate(ranked)} | {"": -1}
    return TextUnits(
        names=tuple(names[key][0] for key in ranked),
        counts=np.array([names[key][1] for key in ranked], dtype=np.int64),
        is_word=np.array([names[key][2] for key in ranked], dtype=bool),
        of_token=np.array([number[key] for key in keys], dtype=np.int32),
    )


def shown(string: str) -> str:
    """A token's text without the spaces around it or, if it is nothing else, with signs for them."""
    return string.strip() or string.translate(_SPACES)
