"""Explaining and scoring documents."""

import numpy as np

from bathyscope.explanations.halves import is_explaining


def test_a_document_falls_on_the_same_side_wherever_it_appears():
    documents = np.arange(1000)
    sides = is_explaining(documents, seed=3)
    order = np.random.default_rng(0).permutation(1000)[:300]
    np.testing.assert_array_equal(is_explaining(documents[order].astype(np.int32), seed=3), sides[order])
    np.testing.assert_array_equal(is_explaining(np.repeat(documents, 3), seed=3), np.repeat(sides, 3))


def test_about_half_of_the_documents_explain():
    sides = is_explaining(np.arange(10_000), seed=0)
    assert abs(sides.sum() - 5000) < 5 * 50  # five standard deviations of a fair coin


def test_another_seed_cuts_independently():
    documents = np.arange(10_000)
    agree = (is_explaining(documents, seed=0) == is_explaining(documents, seed=1)).mean()
    assert abs(agree - 0.5) < 0.025


def test_neighbouring_documents_fall_independently():
    sides = is_explaining(np.arange(10_000), seed=0)
    assert abs((sides[1:] == sides[:-1]).mean() - 0.5) < 0.025


def test_no_documents_give_no_sides():
    assert len(is_explaining(np.zeros(0, dtype=np.int64), seed=0)) == 0
