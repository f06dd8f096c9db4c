"""Two worlds in which it is known which words belong to which feature, with frequent words that belong to none.

Directions: every feature writes the direction of its topic and one that all share; words of the topic point along the
topic, frequent ("lexical") words along what is shared, and further than any topic word.
Text: documents are mostly frequent words; stretches of a topic stand in between. A feature fires on most words of its
topic. Other features fire in bursts that have nothing to do with any word.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.explanations.reading import WINDOW, Reading
from bathyscope.explanations.units import text_units
from bathyscope.features.corpus import corpus_of
from bathyscope.features.postings import Postings, PostingsWriter
from bathyscope.features.tokens import TokenTable

N_TOPICS, PER_TOPIC, N_LEXICAL = 50, 8, 200
"""Features of either world, words of each, and frequent words."""
N_FICKLE = 50
"""Features of the text that fire without any tie to words."""


class PlantedDirections(NamedTuple):
    """Features as directions, words as vectors."""

    U_FD: Float[Tensor, "F D"]
    E_VD: Float[Tensor, "V D"]
    topic_V: Int[Tensor, " V"]
    """Feature that each word belongs to; −1 for frequent words."""


def planted_directions(*, seed: int, d_model: int = 128) -> PlantedDirections:
    """The world of directions."""
    generator = torch.Generator().manual_seed(seed)
    topics_FD, shared_1D = (
        torch.randn(N_TOPICS, d_model, generator=generator),
        torch.randn(1, d_model, generator=generator),
    )
    words_VD = torch.cat([topics_FD.repeat_interleave(PER_TOPIC, 0), 1.3 * shared_1D.repeat(N_LEXICAL, 1)])
    E_VD = words_VD + 0.3 * torch.randn(words_VD.shape, generator=generator)
    topic_V = torch.cat([torch.arange(N_TOPICS).repeat_interleave(PER_TOPIC), torch.full((N_LEXICAL,), -1)])
    return PlantedDirections(U_FD=topics_FD + shared_1D, E_VD=E_VD, topic_V=topic_V)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedText:
    """A text with codes, and which words belong to which feature."""

    reading: Reading
    table: TokenTable
    words: tuple[frozenset[str], ...]
    """Of each topic feature; the features after them are fickle."""


def planted_text(folder: Path, *, seed: int, n_documents: int = 200, length: int = 256) -> PlantedText:
    """The world of text; codes are kept in `folder`."""
    rng = np.random.default_rng(seed)
    names = [
        f"w{''.join(chr(97 + int(digit)) for digit in f'{i:04d}')}" for i in range(N_LEXICAL + N_TOPICS * PER_TOPIC)
    ]
    tokens_ML = (N_LEXICAL * rng.random((n_documents, length)) ** 2).astype(np.int64)
    for document in tokens_ML:
        for start in rng.integers(0, length - 24, 4):
            place = start + np.flatnonzero(rng.random(24) < 0.4)
            topic = rng.integers(N_TOPICS)
            document[place] = N_LEXICAL + topic * PER_TOPIC + rng.integers(0, PER_TOPIC, len(place))
    topic_N = np.where(tokens_ML.ravel() < N_LEXICAL, -1, (tokens_ML.ravel() - N_LEXICAL) // PER_TOPIC)
    fires = (topic_N >= 0) & (rng.random(len(topic_N)) < 0.9)
    bursts = [(f, s + i) for f in range(N_FICKLE) for s in rng.integers(0, tokens_ML.size - 8, 20) for i in range(8)]
    features = np.concatenate([topic_N[fires], [N_TOPICS + f for f, _ in bursts]])
    rows = np.concatenate([np.flatnonzero(fires), [row for _, row in bursts]])
    table = TokenTable(tuple(f" {name}".encode() for name in names), frozenset())
    own = [names[N_LEXICAL + t * PER_TOPIC : N_LEXICAL + (t + 1) * PER_TOPIC] for t in range(N_TOPICS)]
    return PlantedText(
        reading=_reading(folder, tokens_ML, features, rows, table, seed=seed),
        table=table,
        words=tuple(frozenset(words) for words in own),
    )


def _reading(
    folder: Path,
    tokens_ML: Int[np.ndarray, "M L"],
    features: Int[np.ndarray, " E"],
    rows: Int[np.ndarray, " E"],
    table: TokenTable,
    *,
    seed: int,
) -> Reading:
    n_documents, length = tokens_ML.shape
    corpus = corpus_of(
        tokens=tokens_ML.ravel(),
        documents=np.repeat(np.arange(n_documents), length),
        positions=np.tile(np.arange(length), n_documents),
        kept=np.ones(tokens_ML.size, dtype=bool),
        read=lambda own: torch.zeros(len(own), 1),
        tile=WINDOW,
    )
    key = np.unique(rows * (N_TOPICS + N_FICKLE) + features)
    rows, features = key // (N_TOPICS + N_FICKLE), key % (N_TOPICS + N_FICKLE)
    writer = PostingsWriter(folder, n_features=N_TOPICS + N_FICKLE)
    writer.add(features, rows, np.random.default_rng(seed + 1).random(len(rows)) + 0.5)
    writer.flush()
    units = text_units(corpus.tokens, corpus.documents, table)
    return Reading(corpus=corpus, units=units, postings=Postings((folder, 1)))
