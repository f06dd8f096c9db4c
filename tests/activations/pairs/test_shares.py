"""Whole numbers in given shares: they sum to the whole, and none is off by one or more."""

import pytest

from bathyscope.activations.pairs.shares import quotas


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 100, 1801])
def test_quotas_sum_to_the_whole_and_keep_to_the_shares(n):
    shares = {"a": 1.0, "b": 1.0, "both": 4.0}
    found = quotas(n, shares)
    assert sum(found.values()) == n
    assert all(abs(found[key] - n * share / 6) < 1 for key, share in shares.items())


def test_the_largest_remainder_gets_what_is_left():
    assert quotas(10, {"a": 0.26, "b": 0.74}) == {"a": 3, "b": 7}
    assert quotas(3, {"a": 1.0, "b": 1.0}) == {"a": 2, "b": 1}, "of equals the first"
