"""Where the words of a list stand in a text, and how well single features tell them.

An occurrence is a run of tokens that make up one word, kept when at least one of them has an activation.

    recall(w, f) = occurrences of w on which f fires / occurrences of w,    precision(w, f) = firings of f in w / all
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bathyscope.features.tokens import TokenTable
from bathyscope.features.words import text_words


class ListedWord(NamedTuple):
    """One word of a list."""

    word: str
    category: str


def listed_words() -> list[ListedWord]:
    """Every word of `vocabulary_lists.toml` with its category, each once (in its first category)."""
    text = resources.files("bathyscope.evaluation").joinpath("vocabulary_lists.toml").read_text("utf-8")
    found: dict[str, str] = {}
    for category, words in tomllib.loads(text).items():
        for word in words.split():
            found.setdefault(word, category)
    return [ListedWord(word, category) for word, category in found.items()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Occurrences:
    """The word occurrences of N rows of activations."""

    row_N: Int[np.ndarray, " N"]
    """Number of the occurrence that each row is part of; −1 for a row outside words."""
    word_O: Int[np.ndarray, " O"]
    """What occurs, as a number in the list of words; −1 for a word that is in no list."""
    n_words: int

    @property
    def counts(self) -> Int[np.ndarray, " W"]:
        """How often each listed word occurs."""
        return np.bincount(self.word_O[self.word_O >= 0], minlength=self.n_words)

    def shuffled(self, *, seed: int) -> "Occurrences":
        """The null: as many occurrences of each word, in the places of others drawn at random."""
        drawn_O = np.random.default_rng(seed).permutation(self.word_O)
        return Occurrences(row_N=self.row_N, word_O=drawn_O, n_words=self.n_words)


def find_occurrences(
    words: Sequence[str],
    tokens_T: Int[np.ndarray, " T"],
    documents_T: Int[np.ndarray, " T"],
    has_row_T: Bool[np.ndarray, " T"],
    table: TokenTable,
) -> Occurrences:
    """Where `words` occur among the tokens that have a row; capitalised ones as written, others in any case."""
    text = text_words(tokens_T, documents_T, table)
    exact = {word: number for number, word in enumerate(words) if word[:1].isupper()}
    folded = {word.casefold(): number for number, word in enumerate(words) if not word[:1].isupper()}
    listed_V = np.array([exact.get(word, folded.get(word.casefold(), -1)) for word in text.words], dtype=np.int64)
    word_T = text.word_of_token
    used = np.unique(tokens_T)
    is_start = np.zeros(int(used.max(initial=0)) + 1, dtype=bool)
    is_start[used] = [not table.bytes_of(int(token))[:1].isalpha() for token in used]
    begins_T = (np.diff(word_T, prepend=-2) != 0) | (np.diff(documents_T, prepend=-1) != 0) | is_start[tokens_T]
    run_N = np.cumsum(begins_T)[has_row_T]
    run_N = np.where(word_T[has_row_T] >= 0, run_N, -1)
    runs, first_N, row_N = np.unique(run_N, return_index=True, return_inverse=True)
    has_none = int(len(runs) > 0 and runs[0] == -1)
    word_O = listed_V[word_T[has_row_T][first_N[has_none:]]] if len(listed_V) else np.zeros(0, dtype=np.int64)
    return Occurrences(row_N=row_N - has_none, word_O=word_O, n_words=len(words))


class Telling(NamedTuple):
    """How well each feature tells each word."""

    recall_WF: Float[np.ndarray, "W F"]
    """0 for a word that does not occur."""
    precision_WF: Float[np.ndarray, "W F"]
    """0 for a feature that never fires."""


def telling(
    found: Occurrences, rows_E: Int[np.ndarray, " E"], features_E: Int[np.ndarray, " E"], *, n_features: int
) -> Telling:
    """Recall and precision of every feature for every word, from the E firings (row, feature) of the same rows."""
    fires_F = np.bincount(features_E, minlength=n_features)
    occurrence_E = found.row_N[rows_E]
    word_E = np.where(occurrence_E >= 0, found.word_O[occurrence_E], -1)
    listed = word_E >= 0
    occurrence_E, features_E, word_E = occurrence_E[listed], features_E[listed], word_E[listed]
    size = found.n_words * n_features
    inside_WF = np.bincount(word_E * n_features + features_E, minlength=size).reshape(found.n_words, n_features)
    once = np.unique(occurrence_E * n_features + features_E)
    word_of_once = found.word_O[once // n_features]
    hits_WF = np.bincount(word_of_once * n_features + once % n_features, minlength=size)
    hits_WF = hits_WF.reshape(found.n_words, n_features)
    return Telling(
        recall_WF=hits_WF / np.maximum(found.counts, 1)[:, None],
        precision_WF=inside_WF / np.maximum(fires_F, 1)[None, :],
    )
