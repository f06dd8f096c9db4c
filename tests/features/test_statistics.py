"""Figures of features against plain NumPy over their firings."""

import numpy as np
import pytest

from bathyscope.features.postings import Block
from bathyscope.features.statistics import firing_sums, statistics


def block_of(codes_NF: np.ndarray) -> Block:
    features, rows = np.nonzero(codes_NF.T)
    counts = (codes_NF > 0).sum(0)
    return Block(
        first=0,
        n_features=codes_NF.shape[1],
        features=features,
        rows=rows.astype(np.int32),
        values=codes_NF[rows, features].astype(np.float32),
        starts=np.concatenate([[0], np.cumsum(counts)]),
    )


@pytest.fixture
def codes_NF() -> np.ndarray:
    rng = np.random.default_rng(1)
    codes = np.where(rng.random((200, 6)) < [0.5, 0.05, 0.9, 0, 0.3, 0.01], rng.gamma(2, 1, (200, 6)), 0)
    codes[7, 5] = 2.0
    return codes.astype(np.float32)


def test_moments_and_quantiles_are_those_of_the_positive_values(codes_NF):
    found = statistics(block_of(codes_NF))
    for f in (0, 1, 2, 4, 5):
        values = codes_NF[codes_NF[:, f] > 0, f].astype(np.float64)
        assert found.n_fires[f] == len(values)
        assert found.maximum[f] == values.max()
        assert np.isclose(found.mean[f], values.mean())
        assert np.isclose(found.std[f], values.std())
        assert np.allclose(found.quantiles[f], np.quantile(values, [0.5, 0.9, 0.99]))


def test_a_silent_feature_has_zeros(codes_NF):
    found = statistics(block_of(codes_NF))
    silent = (found.n_fires[3], found.maximum[3], found.mean[3], found.std[3], *found.quantiles[3], *found.histogram[3])
    assert set(silent) == {0}


def test_bins_are_open_on_the_left_and_sum_to_the_firings():
    codes = np.array([[20.0], [1.0], [1.001], [10.0], [10.5]], np.float32)
    found = statistics(block_of(codes))
    assert found.histogram[0].nonzero()[0].tolist() == [0, 1, 9, 10, 19]
    assert found.histogram.sum() == 5


def test_histogram_counts_every_firing(codes_NF):
    found = statistics(block_of(codes_NF))
    assert found.histogram.sum(1).tolist() == (codes_NF > 0).sum(0).tolist()


def test_order_by_value_falls_and_ties_go_to_the_earlier_row():
    codes = np.array([[1.0, 0], [3, 2], [3, 2], [2, 0]], np.float32)
    block = block_of(codes)
    order = statistics(block).by_value
    assert block.rows[order].tolist() == [1, 2, 3, 0, 1, 2]


def test_firing_sums_are_sums_over_documents(codes_NF):
    documents = np.repeat([0, 1, 2], [50, 30, 120])
    sizes = np.bincount(documents)
    sums = firing_sums(block_of(codes_NF), documents.astype(np.int32), sizes)
    y = np.stack([(codes_NF[documents == d] > 0).sum(0) for d in range(3)]).astype(float)
    assert np.array_equal(sums.fires, y.sum(0))
    assert np.array_equal(sums.squares, (y * y).sum(0))
    assert np.array_equal(sums.products, (y * sizes[:, None]).sum(0))
