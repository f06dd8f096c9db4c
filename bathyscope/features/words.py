"""The words of a text, found in token ids: which token belongs to which word, and how often each occurs.

A word is a run of letters. Text is rebuilt from the tokens' bytes, document by document, so a word keeps its tokens
however the tokenizer cut it.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from bathyscope.features.tokens import TokenTable, owned_characters

COUNTED_TOKENS = 2_000_000
"""Tokens of a long text over which words are counted for a vocabulary."""
COUNTED_WORDS = 100_000
"""Words whose counts are kept, the most frequent."""
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextWords:
    """Every token of a text, by the word it is part of."""

    words: tuple[str, ...]
    """Distinct words as they are written, in order of first appearance."""
    word_of_token: Int[np.ndarray, " T"]
    """Number of each token's word, −1 for a token without letters; of several words in one token, the last."""
    counts: Int[np.ndarray, " V"]
    """How often each word occurs."""


def text_words(tokens: Int[np.ndarray, " T"], documents: Int[np.ndarray, " T"], table: TokenTable) -> TextWords:
    """The words of a token stream; a word ends where its document does, and at special tokens."""
    numbers, counts = dict[str, int](), list[int]()
    word_of_token = np.full(len(tokens), -1, dtype=np.int64)
    edges = np.append(np.flatnonzero(np.diff(documents, prepend=-1)), len(tokens))
    for start, stop in itertools.pairwise(edges.tolist()):
        pieces = [b" " if token in table.special else table.bytes_of(token) for token in tokens[start:stop].tolist()]
        characters = owned_characters(pieces)
        owner = np.repeat(np.arange(start, stop), [len(own) for own in characters])
        for match in _LETTERS.finditer("".join(characters)):
            number = numbers.setdefault(match[0], len(numbers))
            if number == len(counts):
                counts.append(0)
            counts[number] += 1
            word_of_token[owner[match.start()] : owner[match.end() - 1] + 1] = number
    return TextWords(words=tuple(numbers), word_of_token=word_of_token, counts=np.array(counts, dtype=np.int64))


def save_counts(text: TextWords, file: Path) -> None:
    """Write words and counts, the most frequent first (ties in alphabetical order)."""
    counts = dict(zip(text.words, text.counts.tolist(), strict=True))
    words = sorted(counts, key=lambda word: (-counts[word], word))[:COUNTED_WORDS]
    table = pa.table({"word": pa.array(words, pa.string()), "count": [counts[word] for word in words]})
    pq.write_table(table, file, compression="zstd")


def load_counts(file: Path) -> Mapping[str, int]:
    """Word → count as `save_counts` wrote them, in that order."""
    table = pq.ParquetFile(file).read()
    return dict(zip(table["word"].to_pylist(), table["count"].to_pylist(), strict=True))
