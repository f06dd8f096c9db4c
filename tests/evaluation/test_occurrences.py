"""Where words occur, and recall and precision of features by hand."""

import numpy as np
import pytest
from features.planted import tokenizer_of

from bathyscope.evaluation.occurrences import find_occurrences, listed_words, telling
from bathyscope.features.tokens import TokenTable

PIECES = ["Ġsea", "Ġhar", "bour", "Ġ", ",", "ĠMay", "Ġmay", "ĠSea", "bours"]
"""Byte-level pieces: a sea, a harbour of two pieces, May and may."""


@pytest.fixture(scope="module")
def table():
    return TokenTable.of(tokenizer_of({piece: i for i, piece in enumerate(PIECES)}))


def occur(table, pieces: str, words=("sea", "harbour", "May"), *, documents=None, without=()):
    tokens = np.array([PIECES.index(piece) for piece in pieces.split()])
    documents = np.zeros(len(tokens), dtype=np.int64) if documents is None else np.array(documents)
    has_row = ~np.isin(np.arange(len(tokens)), without)
    return find_occurrences(list(words), tokens, documents, has_row, table)


def test_a_word_of_two_tokens_is_one_occurrence(table):
    found = occur(table, "Ġsea Ġhar bour , Ġsea")
    assert found.row_N.tolist() == [0, 1, 1, -1, 2]
    assert found.word_O.tolist() == [0, 1, 0]
    assert found.counts.tolist() == [2, 1, 0]


def test_the_same_word_twice_in_a_row_is_two_occurrences(table):
    assert occur(table, "Ġsea Ġsea").counts.tolist() == [2, 0, 0]
    assert occur(table, "Ġsea Ġsea", documents=[0, 1]).counts.tolist() == [2, 0, 0]


def test_capitals_count_as_written_and_small_letters_in_any_case(table):
    assert occur(table, "ĠMay Ġmay ĠSea").counts.tolist() == [1, 0, 1]
    assert occur(table, "Ġhar bours").counts.tolist() == [0, 0, 0], "a longer word is another word"


def test_tokens_without_a_row_do_not_count(table):
    found = occur(table, "Ġsea Ġhar bour", without=(0, 2))
    assert found.row_N.tolist() == [0]
    assert found.counts.tolist() == [0, 1, 0]


def test_recall_and_precision_are_those_of_a_hand_count(table):
    found = occur(table, "Ġsea Ġhar bour , Ġsea Ġhar bour Ġ")
    firings = [(0, 0), (1, 1), (2, 1), (3, 1), (6, 1), (4, 2), (0, 2)]  # row, feature
    rows, features = (np.array(column) for column in zip(*firings, strict=True))
    told = telling(found, rows, features, n_features=4)
    assert told.recall_WF.tolist() == [[0.5, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert told.precision_WF.tolist() == [[1, 0, 1, 0], [0, 0.75, 0, 0], [0, 0, 0, 0]]


def test_shuffling_keeps_how_often_words_occur(table):
    found = occur(table, " ".join(["Ġsea Ġhar bour , Ġmay"] * 20))
    null = found.shuffled(seed=0)
    assert null.counts.tolist() == found.counts.tolist()
    assert null.word_O.tolist() != found.word_O.tolist() and (null.row_N == found.row_N).all()


def test_every_listed_word_is_one_word_and_listed_once():
    words = listed_words()
    assert len({one.word for one in words}) == len(words) > 400
    assert all(one.word.isalpha() for one in words)
    assert {"countries", "elements", "us-states", "numbers"} <= {one.category for one in words}
