"""The sparse step in plain PyTorch against the dense references that define it: values and every gradient."""

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels import decode, encode, engine, error, plain

N, D, F, K = 23, 12, 72, 5


def leaf(*shape: int, seed: int, offset: float = 0.0) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn + offset).requires_grad_()


def by_column(values_NK: Tensor, indices_NK: Tensor) -> tuple[Tensor, Tensor]:
    order = indices_NK.argsort(dim=1)
    return values_NK.gather(1, order), indices_NK.gather(1, order)


@pytest.mark.parametrize("n_features", [9, 64, 72, 1000])
@pytest.mark.parametrize("k", [1, 4, 9])
@pytest.mark.parametrize("absolute", [False, True])
def test_two_stages_choose_what_topk_chooses(n_features, k, absolute):
    pre_NF = torch.randn(30, n_features, generator=torch.Generator().manual_seed(k))
    found = plain.largest_in_two_stages(pre_NF, k, absolute=absolute)
    indices_NK = (pre_NF.abs() if absolute else pre_NF).topk(k).indices
    assert torch.equal(found.indices_NK.sort(1).values, indices_NK.sort(1).values)
    assert torch.equal(found.values_NK, pre_NF.gather(1, found.indices_NK))


def test_two_stages_show_nan():
    pre_NF = torch.zeros(2, 64)
    pre_NF[1, 17] = torch.nan
    found = plain.largest_in_two_stages(pre_NF, 2)
    assert found.values_NK.isnan().sum(1).tolist() == [0, 1]


@pytest.fixture
def in_plain_torch(monkeypatch):
    """No element type is one that compiled code takes."""
    monkeypatch.setattr(engine, "COMPILED", ())


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("chunk_bytes", [plain.CHUNK_BYTES, 4 * F * 8])
@pytest.mark.usefixtures("in_plain_torch")
def test_encoding_has_the_gradients_of_its_definition(absolute, chunk_bytes, monkeypatch):
    monkeypatch.setattr(plain, "CHUNK_BYTES", chunk_bytes)
    leaves = [leaf(N, D, seed=0), leaf(D, seed=1), leaf(F, D, seed=2), leaf(F, seed=3, offset=-4)]
    weight_NF, outcomes = leaf(N, F, seed=9).detach(), []
    for function in (encode.encode_largest, encode.encode_largest_reference):
        values_NK, indices_NK = function(leaves[0], leaves[1], leaves[2], leaves[3], K, absolute=absolute)
        outcome = (values_NK * weight_NF.gather(1, indices_NK)).sum()
        outcomes.append((by_column(values_NK.detach(), indices_NK), torch.autograd.grad(outcome, leaves)))
    torch.testing.assert_close(outcomes[0], outcomes[1])


@pytest.mark.usefixtures("in_plain_torch")
def test_decoding_and_the_error_have_the_gradients_of_their_definitions(monkeypatch):
    monkeypatch.setattr(plain, "CHUNK_BYTES", 3 * K * D * 8)
    indices_NK = torch.randint(F - 9, (N, K), generator=torch.Generator().manual_seed(4))
    values_NK = leaf(N, K, seed=1)
    with torch.no_grad():
        values_NK[3, 2] = 0  # its gradient is no zero
    x_ND, W_dec_FD, b_dec_D = leaf(N, D, seed=0), leaf(F, D, seed=2), leaf(D, seed=3)
    leaves, weight_ND = [values_NK, W_dec_FD, b_dec_D], leaf(N, D, seed=9).detach()
    outcomes = [
        torch.autograd.grad((function(values_NK, indices_NK, W_dec_FD, b_dec_D) * weight_ND).sum(), leaves)
        for function in (decode.decode_pairs, decode.decode_pairs_reference)
    ]
    torch.testing.assert_close(outcomes[0], outcomes[1])
    errors = [
        torch.autograd.grad(function(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D).squared, [x_ND, *leaves])
        for function in (error.reconstruction_error, error.reconstruction_error_reference)
    ]
    torch.testing.assert_close(errors[0], errors[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("with_gradients", [True, False])
def test_tokens_are_compared_with_the_rows_that_they_name(dtype, with_gradients):
    with torch.inference_mode(not with_gradients):
        x_ND, rows_FD = (leaf(*shape, seed=seed).detach().to(dtype) for seed, shape in enumerate([(N, D), (F, D)]))
        indices_NK = torch.randint(F, (N, K), generator=torch.Generator().manual_seed(4))
        found_NK = plain.compare_rows(x_ND, rows_FD, indices_NK, factor=-2.0)
        wanted_NK = -2 * (x_ND.double() @ rows_FD.double().T).gather(1, indices_NK)
    assert found_NK.dtype == dtype and not found_NK.requires_grad
    tolerance = 5e-2 if dtype.itemsize == 2 else 1e-5
    torch.testing.assert_close(found_NK.double(), wanted_NK, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(0, K), (N, 0)])
def test_nothing_is_compared_with_nothing(shape):
    x_ND, rows_FD = leaf(shape[0], D, seed=0), leaf(F, D, seed=1)
    assert plain.compare_rows(x_ND, rows_FD, torch.zeros(shape, dtype=torch.int64)).shape == shape
