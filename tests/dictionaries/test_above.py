"""Encoding above a bound and among the largest of a batch, against the dense references: values and every gradient."""

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels import above, threads

N, D, F = 23, 12, 70


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def leaves(*, offset: float = 0.0) -> list[Tensor]:
    found = [draw(N, D, seed=0), draw(D, seed=1), draw(F, D, seed=2), draw(F, seed=3) + offset]
    return [tensor.requires_grad_() for tensor in found]


def identity(pre_NF: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Arguments whose pre-activations are `pre_NF`."""
    n_features = pre_NF.shape[1]
    zeros_F = pre_NF.new_zeros(n_features)
    return pre_NF, zeros_F, torch.eye(n_features, dtype=pre_NF.dtype), zeros_F


def compare(found: above.Pairs | above.Kept, wanted: above.Pairs | above.Kept, parameters: list[Tensor]) -> None:
    """Values, features and gradients of a random linear function of the values, padding included."""
    assert torch.equal(found.indices_NK, wanted.indices_NK)
    torch.testing.assert_close(found.values_NK, wanted.values_NK)
    weight_NK = draw(*found.values_NK.shape, seed=7)
    slopes = [torch.autograd.grad((pairs.values_NK * weight_NK).sum(), parameters) for pairs in (found, wanted)]
    torch.testing.assert_close(slopes[0], slopes[1])
    assert all(slope.abs().max() > 0 for slope in slopes[0])


@pytest.mark.parametrize("bound", [-1e9, -1.5, 0.0, 2.0, "each its own", 1e9])
@pytest.mark.parametrize("chunk_bytes", [above.CHUNK_BYTES, 4 * F * 8])
def test_above_equals_its_reference_with_every_gradient(bound, chunk_bytes, monkeypatch):
    monkeypatch.setattr(above, "CHUNK_BYTES", chunk_bytes)
    parameters = leaves()
    bound_F = draw(F, seed=5) if bound == "each its own" else torch.full((F,), float(bound)).double()
    found = above.encode_above_counted(*parameters, bound_F)
    wanted = above.encode_above_reference(*parameters, bound_F)
    assert torch.equal(found.n_kept_N, wanted.n_kept_N)
    if bound == 1e9:
        assert found.values_NK.tolist() == [[0.0]] * N and wanted.values_NK.tolist() == [[0.0]] * N
        return
    compare(found, wanted, parameters)
    pairs = above.encode_above(*parameters, bound_F)
    assert torch.equal(pairs.values_NK, found.values_NK) and torch.equal(pairs.indices_NK, found.indices_NK)


def test_values_are_raw_and_strictly_above_the_bound():
    pre_NF = torch.tensor([[-2.0, -1.0, -0.5, 3.0], [0.0, -3.0, -1.0, -0.25]])
    kept = above.encode_above_counted(*identity(pre_NF), -1.0)
    assert kept.values_NK.tolist() == [[-0.5, 3.0], [0.0, -0.25]]
    assert kept.indices_NK.tolist() == [[2, 3], [0, 3]]


def test_padding_gets_no_gradient_though_a_real_value_of_zero_does():
    pre_NF = torch.tensor([[0.0, -9.0, -9.0], [-9.0, 1.0, 2.0], [-9.0, -9.0, -9.0]], requires_grad=True)
    kept = above.encode_above_counted(*identity(pre_NF), -1.0)
    assert kept.values_NK.tolist() == [[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]]
    assert kept.n_kept_N.tolist() == [1, 2, 0]
    (slope,) = torch.autograd.grad(kept.values_NK.sum(), [pre_NF])
    assert slope.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("function", [above.encode_above_counted, above.encode_above_reference])
def test_nan_is_never_hidden_and_never_fills_memory(function):
    pre_NF = torch.full((2, F), torch.nan)
    pre_NF[1] = 1.0
    kept = function(*identity(pre_NF), torch.zeros(F))
    assert kept.n_kept_N.tolist()[0] == 1 and bool(kept.values_NK[0, 0].isnan())
    pairs = above.select_batch(*identity(pre_NF), 3)
    assert int(pairs.values_NK.isnan().sum()) == int(pairs.values_NK[0].isnan().sum()) > 0


@pytest.mark.parametrize("n_keep", [1, 40, 400, N * F])
@pytest.mark.parametrize("offset", [0.0, -8.0, 8.0])
@pytest.mark.parametrize("chunk_bytes", [above.CHUNK_BYTES, 4 * F * 8])
def test_batch_selection_equals_flattened_topk_with_every_gradient(n_keep, offset, chunk_bytes, monkeypatch):
    monkeypatch.setattr(above, "CHUNK_BYTES", chunk_bytes)
    parameters = leaves(offset=offset)
    found = above.select_batch(*parameters, n_keep)
    wanted = above.select_batch_reference(*parameters, n_keep)
    dense_NF = ((parameters[0] - parameters[1]) @ parameters[2].T + parameters[3]).relu()
    assert int((found.values_NK > 0).sum()) == min(n_keep, int((dense_NF > 0).sum()))
    compare(found, wanted, parameters)


@pytest.mark.parametrize("n_keep", [64, 3000])
def test_a_batch_too_large_to_be_sampled_whole_is_selected_exactly(n_keep, monkeypatch):
    monkeypatch.setattr(above, "SAMPLE", 500)
    monkeypatch.setattr(above, "CHUNK_BYTES", 32 * 211 * 4)
    x_ND, W_enc_FD = draw(300, D, dtype=torch.float32), draw(211, D, seed=1, dtype=torch.float32)
    arguments = (x_ND, torch.zeros(D), W_enc_FD, draw(211, seed=2, dtype=torch.float32), n_keep)
    found, wanted = above.select_batch(*arguments), above.select_batch_reference(*arguments)
    assert torch.equal(found.indices_NK, wanted.indices_NK)


@pytest.mark.parametrize("order", ["rising", "falling"])
def test_a_guessed_bound_that_is_too_high_or_too_low_changes_nothing(order, monkeypatch):
    """Tokens sorted by length: the first chunk, from which the bound is guessed, is unlike the others."""
    calls: list[float | None] = []
    original = above._largest

    def recorded(*arguments: object, bound: float | None = None, **settings: object) -> object:
        calls.append(bound)
        return original(*arguments, bound=bound, **settings)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(above, "_largest", recorded)
    monkeypatch.setattr(above, "CHUNK_BYTES", 20 * F * 8)
    length_N1 = torch.linspace(0.01, 5, 200, dtype=torch.float64)[:, None]
    x_ND = draw(200, D) * (length_N1 if order == "rising" else length_N1.flip(0))
    arguments = (x_ND, torch.zeros(D).double(), draw(F, D, seed=1), torch.zeros(F).double(), 600)
    found = above.select_batch(*arguments)
    wanted = above.select_batch_reference(*arguments)
    assert torch.equal(found.indices_NK, wanted.indices_NK)
    assert calls == ([None] if order == "rising" else [None, 0.0])


def test_among_equal_entries_the_lowest_token_wins_then_the_lowest_feature():
    pairs = above.select_batch(*identity(torch.ones(3, 4)), 6)
    assert pairs.values_NK.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert pairs.indices_NK.tolist() == [[0, 1, 2, 3], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_zeros_and_negative_entries_are_never_selected():
    pairs = above.select_batch(*identity(torch.tensor([[0.0, -1.0, 2.0], [-3.0, 0.0, -1.0]])), 6)
    assert pairs.values_NK.tolist() == [[2.0], [0.0]]
    nothing = above.select_batch(*identity(-torch.ones(2, 3)), 2)
    assert nothing.values_NK.tolist() == [[0.0], [0.0]]


def test_no_tokens_give_no_pairs():
    arguments = (torch.zeros(0, D), torch.zeros(D), torch.zeros(F, D), torch.zeros(F))
    assert above.encode_above(*arguments, 0.0).values_NK.shape == (0, 1)
    assert above.select_batch(*arguments, 0).values_NK.shape == (0, 1)


@pytest.mark.parametrize("n_threads", [2, 5])
def test_results_do_not_depend_on_the_number_of_threads(n_threads, monkeypatch):
    parameters = leaves()

    def outcome() -> list[Tensor]:
        values = [above.encode_above(*parameters, 0.5).values_NK, above.select_batch(*parameters, 50).values_NK]
        return [*values, *torch.autograd.grad(sum(v.square().sum() for v in values), parameters)]

    wanted = outcome()
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: n_threads)
    assert all(torch.equal(a, b) for a, b in zip(outcome(), wanted, strict=True))
