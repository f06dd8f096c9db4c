"""Word-classifier AUC against comparing every pair of windows."""

import numpy as np
import pytest

from bathyscope.explanations.scores.word_classifier import areas, histograms, levels_of


def all_pairs(firing: np.ndarray, silent: np.ndarray) -> float:
    wins = (firing[:, None] > silent[None]) + 0.5 * (firing[:, None] == silent[None])
    return float(wins.mean())


def test_areas_are_the_share_of_pairs_won_at_every_level():
    rng = np.random.default_rng(0)
    counts, documents = rng.integers(0, 6, 200), rng.integers(0, 7, 200)
    peaks = np.where(rng.random(200) < 0.4, rng.random(200), 0)
    levels = levels_of(peaks)
    found = areas(histograms(counts, levels, documents, n_words=5).sum(0))
    expected = [all_pairs(counts[levels > 0], counts[levels == 0])]
    expected += [all_pairs(counts[levels == third], counts[levels == 0]) for third in (1, 2, 3)]
    assert found == pytest.approx(expected)


def test_windows_are_counted_by_document():
    counts, documents = np.array([0, 1, 1, 9]), np.array([0, 0, 1, 1])
    found = histograms(counts, np.array([0, 2, 0, 3]), documents, n_words=3)
    assert found.shape == (2, 4, 4)
    assert found[0, 0, 0] == found[0, 2, 1] == found[1, 0, 1] == found[1, 3, 3] == 1
    assert found.sum() == 4


def test_words_that_stand_in_all_firing_windows_and_no_other_reach_one_and_words_anywhere_one_half():
    levels, documents = np.array([0, 0, 3, 3]), np.zeros(4, dtype=np.int64)
    assert areas(histograms(np.array([0, 0, 2, 1]), levels, documents, n_words=2).sum(0))[0] == 1
    assert areas(histograms(np.array([1, 1, 1, 1]), levels, documents, n_words=2).sum(0))[0] == 0.5


def test_a_level_without_windows_has_no_area():
    found = areas(histograms(np.array([0, 1]), np.array([0, 3]), np.array([0, 0]), n_words=1).sum(0))
    assert np.isnan(found[[1, 2]]).all()
    assert found[3] == 1


def test_levels_are_thirds_of_the_range_closed_above():
    assert levels_of(np.array([0, 1, 3, 3.1, 6, 9.0])).tolist() == [0, 1, 1, 2, 2, 3]
    assert levels_of(np.zeros(3)).tolist() == [0, 0, 0]
