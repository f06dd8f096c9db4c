"""Fast paths against the plain PyTorch references that define them: values and every gradient, in float64."""

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels import auxiliary, decode, encode, error, moments, rows, select, threads, unit_rows

N, D, F, K = 23, 12, 70, 5


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def leaf(*shape: int, seed: int, offset: float = 0.0) -> Tensor:
    return (draw(*shape, seed=seed) + offset).requires_grad_()


def by_column(pairs: select.Pairs) -> tuple[Tensor, Tensor]:
    """Pairs in order of the feature, whatever order they were found in."""
    order = pairs.indices_NK.argsort(dim=1)
    return pairs.values_NK.gather(1, order), pairs.indices_NK.gather(1, order)


def gradients(outcome: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(outcome, leaves, retain_graph=True))


@pytest.mark.parametrize("n_features", [1, 5, 63, 64, 65, 257, 1000])
@pytest.mark.parametrize("k", [1, 4, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_selection_equals_topk(n_features, k, dtype):
    k = min(k, n_features)
    pre_NF = draw(30, n_features, seed=n_features + k, dtype=dtype)
    values, indices = by_column(select.select_largest(pre_NF, k))
    wanted_values, wanted_indices = by_column(select.select_largest_reference(pre_NF, k))
    assert torch.equal(indices, wanted_indices)
    assert torch.equal(values, wanted_values)


def test_selection_takes_the_lowest_columns_among_equal_entries():
    pre_NF = torch.tensor([[1.0, 2.0, 1.0, 1.0, 2.0, 1.0]]).repeat(1, 40)
    assert select.select_largest(pre_NF, 4).indices_NK.tolist() == [[1, 4, 7, 10]]
    assert select.select_largest(pre_NF, 82).indices_NK.tolist()[0][:4] == [0, 1, 2, 4]
    assert select.select_largest(torch.zeros(1, 300), 3).indices_NK.tolist() == [[0, 1, 2]]


def test_selection_keeps_the_same_values_as_topk_when_many_are_equal():
    pre_NF = draw(50, 400, seed=4).round()
    values, indices = select.select_largest(pre_NF, 33)
    assert torch.equal(values.sort(1).values, select.select_largest_reference(pre_NF, 33).values_NK.sort(1).values)
    assert (indices.diff(dim=1) > 0).all()


def test_selection_comes_before_relu_so_that_fewer_than_k_may_be_active():
    pairs = select.select_largest(torch.tensor([[-1.0, 3.0, -2.0, -0.5]]), 3)
    assert pairs.indices_NK.tolist() == [[0, 1, 3]]
    assert pairs.values_NK.tolist() == [[0.0, 3.0, 0.0]]


@pytest.mark.parametrize("bad", [{7}, set(range(300))])
def test_selection_shows_nan_where_too_few_numbers_are_left(bad):
    pre_NF = torch.full((1, 300), -torch.inf)
    pre_NF[0, list(bad)] = torch.nan
    values = select.select_largest(pre_NF, 300).values_NK
    assert int(values.isnan().sum()) == len(bad)


def test_selection_hides_no_infinity():
    pre_NF = draw(2, 300)
    pre_NF[0, 5], pre_NF[1] = torch.inf, -torch.inf
    values, indices = select.select_largest(pre_NF, 3)
    assert values[0].max() == torch.inf and 5 in indices[0].tolist()
    assert values[1].tolist() == [0, 0, 0]


def test_compiled_selection_adds_the_bias():
    pre_NF, bias_F = draw(9, F), draw(F, seed=1)
    wanted = select.select_largest_compiled(pre_NF + bias_F, None, K)
    found = select.select_largest_compiled(pre_NF, bias_F, K)
    assert torch.equal(found.indices_NK, wanted.indices_NK) and torch.equal(found.values_NK, wanted.values_NK)


def test_selection_passes_gradients_to_kept_positive_entries_only():
    pre_NF = leaf(N, F, seed=5, offset=-2.5)
    pairs = select.select_largest(pre_NF, K)
    (found,) = gradients(pairs.values_NK.sum(), [pre_NF])
    wanted = torch.zeros(N, F, dtype=torch.float64).scatter(1, pairs.indices_NK, (pairs.values_NK > 0).double())
    assert 0 < wanted.sum() < N * K
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("chunk_bytes", [encode.CHUNK_BYTES, 4 * F * 8])
def test_encode_equals_its_reference_with_every_gradient(chunk_bytes, monkeypatch):
    monkeypatch.setattr(encode, "CHUNK_BYTES", chunk_bytes)
    leaves = [leaf(N, D, seed=0), leaf(D, seed=1), leaf(F, D, seed=2), leaf(F, seed=3, offset=-4)]
    weight = draw(N, F, seed=9)
    outcomes = []
    for function in (encode.encode_largest, encode.encode_largest_reference):
        pairs = function(*leaves, K)
        assert (pairs.values_NK == 0).any(), "the test must meet selected entries that do not fire"
        outcomes.append(
            (by_column(pairs), gradients((pairs.values_NK * weight.gather(1, pairs.indices_NK)).sum(), leaves))
        )
    (values, indices), found = outcomes[0]
    (wanted_values, wanted_indices), wanted = outcomes[1]
    assert torch.equal(indices, wanted_indices)
    torch.testing.assert_close(values, wanted_values)
    torch.testing.assert_close(found, wanted)


def test_the_gradient_of_b_pre_is_minus_the_summed_gradient_through_the_encoder():
    x_ND, b_pre_D, W_enc_FD, b_enc_F = leaf(N, D, seed=0), leaf(D, seed=1), leaf(F, D, seed=2), leaf(F, seed=3)
    values = encode.encode_largest(x_ND, b_pre_D, W_enc_FD, b_enc_F, K).values_NK
    grad_b_pre, grad_b_enc = gradients(values.square().sum(), [b_pre_D, b_enc_F])
    assert grad_b_pre.abs().max() > 1
    torch.testing.assert_close(grad_b_pre, -(grad_b_enc @ W_enc_FD))


@pytest.mark.parametrize("name", ["decode", "error"])
def test_decode_and_error_equal_their_references_with_every_gradient(name):
    indices_NK = torch.stack([torch.randperm(F, generator=torch.Generator().manual_seed(n))[:K] for n in range(N)])
    values_NK = leaf(N, K, seed=1)
    with torch.no_grad():
        values_NK[:, -1] = 0  # an unfired pair: its value still has a gradient
    leaves = [values_NK, leaf(F, D, seed=2), leaf(D, seed=3)]
    if name == "decode":
        pair = (decode.decode_pairs, decode.decode_pairs_reference)
        outcomes = [(f(values_NK, indices_NK, *leaves[1:]),) for f in pair]
        scalars = [(o[0] * draw(N, D, seed=4)).sum() for o in outcomes]
    else:
        x_ND = leaf(N, D, seed=5)
        pair = (error.reconstruction_error, error.reconstruction_error_reference)
        outcomes = [f(x_ND, values_NK, indices_NK, *leaves[1:]) for f in pair]
        scalars, leaves = [3 * o.squared for o in outcomes], [x_ND, *leaves]
    torch.testing.assert_close(outcomes[0], outcomes[1])
    torch.testing.assert_close(gradients(scalars[0], leaves), gradients(scalars[1], leaves))


def test_decode_is_the_dense_product():
    values_NK, indices_NK = draw(N, K), torch.arange(N * K).reshape(N, K) % F
    W_dec_FD, b_dec_D = draw(F, D, seed=1), draw(D, seed=2)
    dense_NF = torch.zeros(N, F, dtype=torch.float64).scatter_add(1, indices_NK, values_NK)
    torch.testing.assert_close(
        decode.decode_pairs(values_NK, indices_NK, W_dec_FD, b_dec_D), dense_NF @ W_dec_FD + b_dec_D
    )


@pytest.mark.parametrize("k", [3, 100])
@pytest.mark.parametrize("n_dead", [0, 1, 3, 40])
def test_the_auxiliary_guess_equals_its_reference_with_every_gradient(n_dead, k):
    leaves = [leaf(N, D, seed=0), leaf(F, D, seed=1), leaf(F, seed=2), leaf(F, D, seed=3)]
    dead_F = torch.zeros(F, dtype=torch.bool)
    dead_F[torch.randperm(F, generator=torch.Generator().manual_seed(0))[:n_dead]] = True
    outcomes = []
    for function in (auxiliary.auxiliary_guess, auxiliary.auxiliary_guess_reference):
        guess_ND = function(leaves[0], dead_F, *leaves[1:], k)
        outcome = (guess_ND * draw(N, D, seed=7)).sum()
        found = torch.autograd.grad(outcome, leaves, allow_unused=True) if outcome.requires_grad else [None] * 4
        outcomes.append(
            (guess_ND, [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)])
        )
    torch.testing.assert_close(outcomes[0], outcomes[1])
    assert (outcomes[0][1][1].abs().sum() > 0) == (n_dead > 0), (
        "the encoder must get a gradient (sparsify 1.3.3 gave 0)"
    )


@pytest.mark.parametrize("n", [1, 127, 128, 500])
def test_moments_equal_their_reference(n):
    x_ND = draw(n, D, dtype=torch.float32) + 100
    found, wanted = moments.moments(x_ND), moments.moments_reference(x_ND)
    torch.testing.assert_close(found.mean_D, wanted.mean_D)
    torch.testing.assert_close(found.variation, wanted.variation, rtol=1e-8, atol=1e-6)


def test_activations_that_are_all_alike_vary_by_exactly_nothing():
    for function in (moments.moments, moments.moments_reference):
        assert float(function(torch.full((300, D), 0.1)).variation) == 0


def test_row_constraints_equal_their_references():
    W_dec_FD = torch.nn.Parameter(draw(F, D))
    W_dec_FD.grad = draw(F, D, seed=1)
    wanted = unit_rows.unit_rows_reference(W_dec_FD.detach())
    unit_rows.unit_rows(W_dec_FD)
    torch.testing.assert_close(W_dec_FD.detach(), wanted)
    wanted = unit_rows.projected_reference(W_dec_FD.grad, W_dec_FD.detach())
    unit_rows.project_gradient(W_dec_FD)
    torch.testing.assert_close(W_dec_FD.grad, wanted)
    assert torch.linalg.vecdot(W_dec_FD.grad, W_dec_FD.detach()).abs().max() < 1e-12


def test_a_row_of_zeros_stays_a_row_of_zeros():
    W_dec_FD = torch.nn.Parameter(torch.zeros(2, 3))
    unit_rows.unit_rows(W_dec_FD)
    assert torch.equal(W_dec_FD.detach(), torch.zeros(2, 3))


def test_pairs_are_sorted_by_feature_then_token_without_the_zeros():
    values_NK = torch.tensor([[1.0, 0.0], [2.0, 3.0], [4.0, -5.0]])
    indices_NK = torch.tensor([[2, 1], [0, 2], [0, 2]])
    found = rows.by_feature(values_NK, indices_NK, 4)
    assert found.offsets.tolist() == [0, 2, 2, 5, 5]
    assert found.pairs.tolist() == [2, 4, 0, 3, 5]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_results_do_not_depend_on_the_number_of_threads(n_threads, monkeypatch):
    x_ND = draw(300, D, dtype=torch.float32)
    leaves = [leaf(D, seed=1), leaf(F, D, seed=2), leaf(F, seed=3)]
    leaves = [x.detach().float().requires_grad_() for x in leaves]

    def outcome() -> list[Tensor]:
        pairs = encode.encode_largest(x_ND, *leaves, K)
        squared = error.reconstruction_error(x_ND, *pairs, leaves[1], leaves[0]).squared
        return [squared, *gradients(squared, leaves), *moments.moments(x_ND)[1:]]

    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: 1)
    wanted = outcome()
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: n_threads)
    assert all(torch.equal(a, b) for a, b in zip(outcome(), wanted, strict=True))
