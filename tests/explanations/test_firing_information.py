"""Words read off firings: against plain counting, and on planted words beside frequent ones."""

import numpy as np
import pytest
from explanations.planted_text import reading_of, table_of

from bathyscope.errors import ConfigError
from bathyscope.explanations.firing_information import (
    FiringInformation,
    discovered,
    p_values,
    rank_units,
    shifted_rows,
)
from bathyscope.explanations.information import information
from bathyscope.explanations.presence import units_near

N_DOCUMENTS, LENGTH = 12, 40
WORDS = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)]


def random_reading(folder, *, n_features: int = 7, share: float = 0.1, seed: int = 0):
    rng = np.random.default_rng(seed)
    tokens = (60 * rng.random((N_DOCUMENTS, LENGTH)) ** 2).astype(int)  # the first words are the most frequent
    fires = rng.random((tokens.size, n_features)) < share
    fires[:, -1] = False
    return reading_of(folder, tokens, fires * rng.random(fires.shape), table_of(WORDS)), fires


def present(reading, radius: int) -> np.ndarray:
    """Whether each unit is within `radius` tokens of each row, one row after the other."""
    of_token, documents = reading.units.of_token, reading.corpus.documents
    found = np.zeros((len(of_token), len(reading.units.names)), dtype=bool)
    for row in range(len(of_token)):
        for other in range(max(0, row - radius), min(len(of_token), row + radius + 1)):
            if documents[other] == documents[row] and of_token[other] >= 0:
                found[row, of_token[other]] = True
    return found


@pytest.mark.parametrize("radius", [0, 3])
def test_the_compiled_ranking_is_plain_counting(tmp_path, radius):
    reading, fires = random_reading(tmp_path / "p")
    near = units_near(reading.corpus, reading.units.of_token, radius=radius)
    n_units = len(reading.units.names)
    found = rank_units(reading.postings, near, np.arange(len(fires)), n_units=n_units, n=5, min_joint=2)
    there = present(reading, radius).astype(float)
    joint = fires.T.astype(float) @ there
    scores = information(joint, fires.sum(0)[:, None] + 0 * joint, there.sum(0)[None] + 0 * joint, n=len(fires))
    scores[(joint < 2) | (scores <= 0)] = 0
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    best = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_allclose(found.scores, best, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found.units, np.where(best > 0, order, -1))
    np.testing.assert_array_equal(found.joint, np.where(best > 0, np.take_along_axis(joint, order, axis=1), 0))
    assert (found.units[-1] == -1).all()


def test_information_is_that_of_the_table_of_probabilities():
    p = (np.array([[30, 20], [30, 120]]) + 0.5) / 202
    expected = (p * np.log(p / (p.sum(1, keepdims=True) * p.sum(0)))).sum()
    found = information(np.array([30.0, 2.0]), np.array([50.0, 50.0]), np.array([60.0, 60.0]), n=200)
    assert found[0] == pytest.approx(expected)
    assert found[1] < 0  # they avoid each other


def test_a_planted_word_is_found_among_frequent_ones_and_a_fickle_feature_is_not_believed(tmp_path):
    rng = np.random.default_rng(1)
    tokens = (60 * rng.random((40, 60)) ** 3).astype(int)
    fires = np.zeros((tokens.size, 21))
    fires[:, 0] = (tokens.ravel() == 40) & (rng.random(tokens.size) < 0.9)
    starts = rng.integers(0, tokens.size - 8, (20, 6))
    for f in range(20):  # bursts without any tie to a word
        for start in starts[f]:
            fires[start : start + 8, 1 + f] = 1
    reading = reading_of(tmp_path / "p", tokens, fires, table_of(WORDS))
    near = units_near(reading.corpus, reading.units.of_token, radius=0)
    sizes = {"n_units": len(reading.units.names), "min_joint": 3}
    found = rank_units(reading.postings, near, np.arange(tokens.size), n=10, **sizes)
    assert reading.units.names[found.units[0, 0]] == WORDS[40]
    documents = reading.corpus.row_documents
    null = [
        rank_units(reading.postings, near, shifted_rows(documents, seed=s), n=1, **sizes).scores[:, 0]
        for s in range(39)
    ]
    p = p_values(found.scores, np.stack(null))
    assert p[0, 0] == pytest.approx(1 / 40)
    assert (p[1:, 0] <= 0.05).sum() <= 4
    assert discovered(np.concatenate([np.repeat(p[:1], 20, axis=0), p[1:]]), rate=0.05)[:20, 0].all()


def test_a_shift_turns_every_document_by_its_own_offset():
    documents = np.repeat([3, 0, 2, 1], [5, 1, 7, 2])
    moved = shifted_rows(documents, seed=0)
    assert sorted(moved) == list(range(15))
    np.testing.assert_array_equal(documents[moved], documents)
    offsets = (moved - np.arange(15))[[0, 6]] % [5, 7]
    assert (offsets > 0).all()
    assert moved[5] == 5  # a document of one token has nowhere to go
    assert not np.array_equal(moved, shifted_rows(documents, seed=1))


def test_false_discoveries_are_held_over_features():
    p = np.array([[0.001, 0.2], [0.001, 0.04], [0.04, 0.9], [0.9, 1.0]])
    # Benjamini–Hochberg at .05 on best p .001 .001 .04 .9: two pass (.04 > .0375), so units pass at .05 · 2/4
    np.testing.assert_array_equal(discovered(p, rate=0.05), [[1, 0], [1, 0], [0, 0], [0, 0]])
    assert not discovered(np.ones((3, 2)), rate=0.05).any()


def test_settings_out_of_range_are_refused():
    for wrong in (
        {"radius": -1}, {"n_units": 1}, {"n_shifts": 0}, {"false_discovery": 1.0}, {"min_firings": 0},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            FiringInformation(**wrong)
