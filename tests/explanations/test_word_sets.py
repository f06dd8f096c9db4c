"""Sets of words: against trying every set, and on words that stand together."""

import itertools

import numpy as np
import pytest
from explanations.planted_text import reading_of, table_of

from bathyscope.explanations.information import information
from bathyscope.explanations.presence import as_bits, window_bits
from bathyscope.explanations.reading import WINDOW
from bathyscope.explanations.vocabulary import base_numbers
from bathyscope.explanations.word_sets import choose_sets

WORDS = ["the", "whale", "whales", "ocean", "ship", "salad"]
N_WINDOWS = 150


def windows_of(folder, present_JU: np.ndarray, fires_J: np.ndarray):
    """A document of one window each, in which the given words stand and the feature fires or not."""
    tokens = np.zeros((len(present_JU), WINDOW), dtype=int)
    for window, unit in zip(*np.nonzero(present_JU), strict=True):
        tokens[window, unit + 1] = unit
    values = np.zeros((tokens.size, 1))
    values[::WINDOW, 0] = fires_J
    return reading_of(folder, tokens, values, table_of(WORDS))


def sets_of(reading, *, n: int = 3):
    names = reading.units.names
    bits = window_bits(reading.corpus, reading.units.of_token, n_units=len(names))
    found = choose_sets(
        reading.postings, reading.corpus, bits, np.arange(len(names))[None].astype(np.int32), base_numbers(names), n=n
    )
    return [names[u] for u in found.units[0] if u >= 0], found.scores[0]


def gain(present_JU: np.ndarray, fires_J: np.ndarray, chosen: list[int]) -> float:
    covered, fires = present_JU[:, chosen].any(1), fires_J > 0
    counts = (np.array([float(events.sum())]) for events in (covered & fires, fires, covered))
    return float(information(*counts, n=len(fires))[0])


@pytest.fixture
def world():
    """The feature fires on whales, ships and salad; oceans stand only where whales do."""
    rng = np.random.default_rng(0)
    present = rng.random((N_WINDOWS, len(WORDS))) < 0.12
    present[:, 0] = True
    present[:, 3] = present[:, 1] & (rng.random(N_WINDOWS) < 0.9)
    fires = (present[:, [1, 2, 4, 5]].any(1) & (rng.random(N_WINDOWS) < 0.9)).astype(float)
    return present, fires


def test_each_step_takes_the_word_that_adds_most_and_scores_are_what_it_adds(world, tmp_path):
    present, fires = world
    names, scores = sets_of(windows_of(tmp_path / "p", present, fires))
    chosen = [WORDS.index(name) for name in names]
    assert len(chosen) == 3
    forms = [0, 1, 1, 3, 4, 5]
    for step in range(3):
        before = chosen[:step]
        free = [u for u in range(len(WORDS)) if forms[u] not in [forms[c] for c in before]]
        best = max(gain(present, fires, [*before, u]) for u in free)
        assert gain(present, fires, chosen[: step + 1]) == pytest.approx(best)
        assert scores[step] == pytest.approx(best - (gain(present, fires, before) if before else 0.0))


def test_a_word_that_stands_where_another_does_is_not_taken(world, tmp_path):
    present = world[0]
    names, _ = sets_of(windows_of(tmp_path / "p", present, present[:, [1, 4, 5]].any(1).astype(float)), n=6)
    assert set(names) == {"whale", "ship", "salad"}


def test_no_two_forms_of_a_word_are_taken(world, tmp_path):
    names, _ = sets_of(windows_of(tmp_path / "p", *world), n=6)
    assert len({"whale", "whales"} & set(names)) == 1


def test_a_set_ends_where_nothing_is_gained(tmp_path):
    present = np.zeros((N_WINDOWS, len(WORDS)), dtype=bool)
    present[:, 0] = True
    present[:30, 1] = True
    fires = np.zeros(N_WINDOWS)
    fires[:30] = 1
    names, scores = sets_of(windows_of(tmp_path / "p", present, fires))
    assert names == ["whale"]
    assert (scores[1:] == 0).all()


def test_bits_stand_for_pairs():
    rng = np.random.default_rng(3)
    rows, places = rng.integers(0, 5, 60), rng.integers(0, 130, 60)
    bits = as_bits(rows, places, shape=(5, 130))
    found = (bits[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    expected = np.zeros((5, 192), dtype=np.uint64)
    expected[rows, places] = 1
    np.testing.assert_array_equal(found.reshape(5, 192), expected)


def test_the_greedy_set_is_at_least_as_good_as_any_pair_of_the_best_single_words(world, tmp_path):
    present, fires = world
    names, _ = sets_of(windows_of(tmp_path / "p", present, fires), n=2)
    chosen = [WORDS.index(name) for name in names]
    singles = sorted(range(len(WORDS)), key=lambda u: -gain(present, fires, [u]))[:2]
    assert gain(present, fires, chosen) >= gain(present, fires, singles)
    assert gain(present, fires, chosen) <= max(
        gain(present, fires, [*pair]) for pair in itertools.combinations(range(6), 2)
    )
