"""A half of the documents, read: its text as units and windows, and where every feature fires in it.

One pass over activations, all features at once; what explanations learn from and what they are scored on comes from
here. Knows nothing of what is done with it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from bathyscope.activations.match import shared_hookpoint
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Draft
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.explanations.halves import is_explaining
from bathyscope.explanations.units import TextUnits, text_units
from bathyscope.features.corpus import Corpus, stored_corpus
from bathyscope.features.draws import random_bits
from bathyscope.features.encode import encode
from bathyscope.features.postings import Postings
from bathyscope.features.settings import IndexSettings
from bathyscope.features.tokens import TokenTable

WINDOW = 32
"""Tokens of a window."""
Half = Literal["explaining", "scoring"]
_SALT = 0x0D0C
_ENCODE = IndexSettings(window=WINDOW, near_misses=0, cofiring_tokens=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Text and codes of some documents."""

    corpus: Corpus
    units: TextUnits
    postings: Postings
    """Codes by feature; rows are those of `corpus`."""


def choose_documents(store: ActivationStore, half: Half, *, seed: int, n_tokens: int | None) -> Int[np.ndarray, " M"]:
    """Numbers of documents of one half, ascending: of the whole store to learn from, held-out ones to score on.

    Documents are drawn until `n_tokens` are reached (None: all). Raises ConfigError when the half is empty.
    """
    numbers, lengths = np.unique(np.asarray(store.documents)[store.row_tokens()], return_counts=True)
    chosen = is_explaining(numbers, seed=seed) == (half == "explaining")
    if half == "scoring":
        chosen &= store.held_out(numbers)
    numbers, lengths = numbers[chosen], lengths[chosen]
    if len(numbers) == 0:
        raise ConfigError(f"{store.path} has no document in the {half} half; collect more documents or change the seed")
    order = np.argsort(random_bits(seed, numbers, np.full(len(numbers), _SALT)))
    before = np.cumsum(lengths[order]) - lengths[order]
    return np.sort(numbers[order][before < (n_tokens if n_tokens is not None else np.inf)])


def read_documents(
    store: ActivationStore,
    dictionary: Dictionary,
    documents: Int[np.ndarray, " M"],
    table: TokenTable,
    *,
    work: Draft,
) -> Reading:
    """Encode every token of the given documents; an interrupted draft goes on where it stopped."""
    corpus = stored_corpus(store, shared_hookpoint(dictionary, store), documents, tile=WINDOW)
    encoded = encode(corpus, dictionary, work=work, settings=_ENCODE)
    return Reading(corpus=corpus, units=text_units(corpus.tokens, corpus.documents, table), postings=encoded.postings)
