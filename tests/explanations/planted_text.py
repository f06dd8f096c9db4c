"""A text of words as tokens, with features that fire on planted tokens, as a reading: no model."""

from pathlib import Path

import numpy as np
import torch

from bathyscope.explanations.reading import WINDOW, Reading
from bathyscope.explanations.units import text_units
from bathyscope.features.corpus import corpus_of
from bathyscope.features.postings import Postings, PostingsWriter
from bathyscope.features.tokens import TokenTable


def table_of(words: list[str]) -> TokenTable:
    """A vocabulary in which every token is one word (or sign) with a space before it."""
    return TokenTable(tuple(f" {word}".encode() for word in words), frozenset())


def reading_of(folder: Path, tokens_ML: np.ndarray, values_NF: np.ndarray, table: TokenTable) -> Reading:
    """M documents of L tokens, and the features' values at each token (0 where they do not fire)."""
    n_documents, length = tokens_ML.shape
    corpus = corpus_of(
        tokens=tokens_ML.ravel().astype(np.int32),
        documents=np.repeat(np.arange(n_documents), length),
        positions=np.tile(np.arange(length), n_documents),
        kept=np.ones(tokens_ML.size, dtype=bool),
        read=lambda rows: torch.zeros(len(rows), 1),
        tile=WINDOW,
    )
    writer = PostingsWriter(folder, n_features=values_NF.shape[1])
    rows, features = np.nonzero(values_NF)
    writer.add(features, rows, values_NF[rows, features])
    writer.flush()
    return Reading(
        corpus=corpus,
        units=text_units(corpus.tokens, corpus.documents, table),
        postings=Postings((folder, 1)),
    )
