"""Codes: sparse and dense forms, counts."""

import jaxtyping
import pytest
import torch

from bathyscope.dictionaries.codes import FIRES_ROWS, Codes, fires_of
from bathyscope.errors import ConfigError

DENSE_NF = torch.tensor([[0.0, 2.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0]])


def test_dense_to_sparse_and_back():
    codes = Codes.from_dense(DENSE_NF)
    assert codes.values_NK.tolist() == [[2, -1], [0, 0], [5, 0]]
    assert codes.indices_NK.tolist() == [[1, 3], [0, 0], [0, 0]]
    assert torch.equal(codes.dense(), DENSE_NF)


def test_padding_at_feature_zero_does_not_change_feature_zero():
    codes = Codes(torch.tensor([[7.0, 0.0, 0.0]]), torch.zeros(1, 3, dtype=torch.int64), 2)
    assert codes.dense().tolist() == [[7, 0]]


def test_signed_codes_count_as_active():
    codes = Codes.from_dense(DENSE_NF)
    assert codes.l0() == pytest.approx(1.0)
    assert codes.fires().tolist() == [1, 1, 0, 1]
    assert codes.fires().dtype == torch.int64


@pytest.mark.parametrize("n", [0, 1, FIRES_ROWS, FIRES_ROWS + 3])
def test_firings_of_a_dense_form_are_those_of_its_pairs(n):
    codes_NF = torch.randn(n, 5, generator=torch.Generator().manual_seed(n)).clamp(max=0)
    found_F = fires_of(codes_NF)
    assert torch.equal(found_F, Codes.from_dense(codes_NF).fires()) and found_F.dtype == torch.int64


@pytest.mark.parametrize("n", [0, 3])
def test_tokens_without_active_features_have_no_pairs(n):
    codes = Codes.from_dense(torch.zeros(n, 4))
    assert codes.values_NK.shape == (n, 0)
    assert codes.dense().shape == (n, 4)
    assert codes.l0() == 0


def test_concatenation_pads_to_the_widest():
    parts = [Codes.from_dense(DENSE_NF[:1]), Codes.from_dense(DENSE_NF[1:])]
    assert torch.equal(Codes.concatenate(parts, 4).dense(), DENSE_NF)


def test_dense_passes_gradients_to_the_values():
    values_NK = torch.tensor([[2.0, 3.0]], requires_grad=True)
    dense_NF = Codes(values_NK, torch.tensor([[1, 3]]), 4).dense()
    (slope_NK,) = torch.autograd.grad((dense_NF * torch.tensor([1.0, 10, 100, 1000])).sum(), [values_NK])
    assert slope_NK.tolist() == [[10, 1000]]


@pytest.fixture
def without_shape_checks():
    """As for a user, who has none."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("without_shape_checks")
def test_values_and_indices_of_different_shapes_are_refused():
    with pytest.raises(ConfigError, match=r"\(1, 2\) and \(1, 3\)"):
        Codes(torch.zeros(1, 2), torch.zeros(1, 3, dtype=torch.int64), 4)
