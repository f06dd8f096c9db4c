"""Random numbers by item: spread evenly, and a function of the item alone."""

import numpy as np

from bathyscope.features.draws import random_bits


def test_bits_depend_on_the_item_and_the_seed_but_not_on_its_place():
    features, rows = np.array([1, 1, 2]), np.array([7, 8, 7])
    bits = random_bits(3, features, rows)
    assert len(set(bits.tolist())) == 3
    assert random_bits(3, features[::-1], rows[::-1]).tolist() == bits[::-1].tolist()
    assert random_bits(4, features, rows).tolist() != bits.tolist()


def test_bits_are_uniform_over_rows_and_over_features():
    for features, rows in ((np.zeros(16_000, int), np.arange(16_000)), (np.arange(16_000), np.zeros(16_000, int))):
        counts = np.bincount((random_bits(0, features, rows) >> np.uint64(60)).astype(int), minlength=16)
        chi_square = ((counts - 1000) ** 2 / 1000).sum()
        assert chi_square < 37.7  # 99.9 % quantile of 15 degrees of freedom
