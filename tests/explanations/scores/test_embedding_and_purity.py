"""Example embedding and single-token purity by hand."""

import numpy as np
import pytest
from tiny import tiny_model

from bathyscope.explanations.scores.example_embedding import TokenVectors, difference, similarity_sums
from bathyscope.explanations.scores.purity import purity_sums, share
from bathyscope.models.unembed import unembedding


def test_windows_of_equal_tokens_have_cosine_one_and_rare_tokens_weigh_more():
    model = tiny_model()
    text = np.array([5] * 900 + [6] * 100)
    vectors = TokenVectors(model, text)
    found = vectors.windows(np.array([5, 6, 5, 6, 5, 5]), np.array([0, 2, 4]), np.array([2, 4, 6]))
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1])
    assert found[0] @ found[1] == pytest.approx(1)
    E = unembedding(model).detach().numpy()
    centred = E - E.mean(0)
    by_hand = 1e-3 / (1e-3 + 0.9) * centred[5] + 1e-3 / (1e-3 + 0.1) * centred[6]
    np.testing.assert_allclose(found[0], by_hand / np.linalg.norm(by_hand), rtol=1e-4, atol=1e-6)


def test_delta_is_the_difference_of_mean_cosines():
    windows = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], dtype=np.float32)
    fires, documents = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
    sums = similarity_sums(np.array([1, 0], dtype=np.float32), windows, fires, documents)
    assert sums.shape == (2, 4)
    assert difference(sums.sum(0)) == pytest.approx((1 + 0.6) / 2 - (0 - 1) / 2)
    assert np.isnan(difference(np.array([0.0, 0.0, 1.0, 1.0])))


def test_purity_is_the_share_of_activation_on_one_token():
    sums = purity_sums(np.array([7, 7, 8]), np.array([1.0, 2.0, 3.0]), np.array([0, 1, 1]), 7, n_documents=3)
    np.testing.assert_array_equal(sums, [[1, 1], [2, 5], [0, 0]])
    assert share(sums.sum(0)) == pytest.approx(0.5)
    assert np.isnan(share(np.zeros(2)))
