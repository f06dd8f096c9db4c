"""Baselines read off top windows, on planted activations: shares and weights by hand."""

import numpy as np
import pytest
from explanations.planted_text import reading_of, table_of

from bathyscope.explanations.contexts import PER_DOCUMENT, TOP_WINDOWS, context_units, tf_idf_units, top_windows
from bathyscope.explanations.reading import WINDOW, Reading
from bathyscope.features.tokens import TokenTable

TEXT = "the whale, The\n\n whale! and "
BYTES = TokenTable(tuple(bytes([i]) for i in range(256)), frozenset())


@pytest.fixture(scope="module")
def reading(tmp_path_factory) -> Reading:
    tokens = np.array([list(TEXT.encode())] * 2)
    values = np.zeros((tokens.size, 3))
    values[4:9, 0] = 2.0  # "whale", 10 in all
    values[0, 0] = 3.0  # "t" of "the"
    values[9, 0] = 5.0  # ","
    values[14:16, 0] = 1.0  # two line breaks
    values[25, 1] = 1.0  # "d" of "and"
    return reading_of(tmp_path_factory.mktemp("contexts") / "p", tokens, values, BYTES)


def named(reading: Reading, found, feature: int) -> list[tuple[str, float]]:
    pairs = zip(found.units[feature], found.scores[feature], strict=True)
    return [(reading.units.names[unit], pytest.approx(score)) for unit, score in pairs if unit >= 0]


def test_units_are_ranked_by_their_share_of_the_activation(reading):
    found = context_units(reading, n=9)
    assert named(reading, found, 0) == [("whale", 0.5), (",", 0.25), ("The", 0.15), ("⏎", 0.1)]
    assert named(reading, found, 1) == [("and", 1.0)]
    assert named(reading, found, 2) == []
    assert [name for name, _ in named(reading, context_units(reading, n=2), 0)] == ["whale", ","]


def test_a_word_of_every_window_has_no_tf_idf(tmp_path):
    words = ["the", "whale", "ocean"]
    tokens = np.zeros((4, WINDOW), dtype=int)
    tokens[0, 1:3] = 1
    tokens[1, 1] = tokens[0, 3] = 2
    values = np.zeros((tokens.size, 1))
    values[1, 0] = 1.0
    reading = reading_of(tmp_path / "p", tokens, values, table_of(words))
    found = named(reading, tf_idf_units(reading, n=3), 0)
    assert found == [("whale", 2 * np.log(4)), ("ocean", np.log(2)), ("the", 0.0)]


def test_top_windows_have_the_highest_peaks_and_no_document_fills_them(tmp_path):
    tokens = np.zeros((3, 10 * WINDOW), dtype=int)
    values = np.zeros((tokens.size, 1))
    values[::WINDOW, 0] = np.arange(30) + 1.0  # one firing in each of 30 windows, rising
    reading = reading_of(tmp_path / "p", tokens, values, table_of(["a"]))
    _, tiles = top_windows(reading.postings.block(0, 1), reading)
    assert tiles.tolist() == [29, 28, 27, 19, 18, 17, 9, 8, 7]
    assert len(tiles) == 3 * PER_DOCUMENT <= TOP_WINDOWS
