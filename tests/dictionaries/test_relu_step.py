"""Both ways to make a ReLU dictionary's step against the definition: values and every gradient."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels import relu_step
from bathyscope.dictionaries.kernels.relu_step import dense_relu_step, relu_step_reference, sparse_relu_step

N, D, F = 23, 12, 40
WAYS = (relu_step_reference, dense_relu_step, sparse_relu_step)


def leaf(*shape: int, seed: int, offset: float = 0.0) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn + offset).requires_grad_()


def leaves(*, offset: float = 0.0) -> list[Tensor]:
    shapes = [(N, D), (F, D), (F,), (F, D), (D,), (F,)]
    return [leaf(*shape, seed=seed, offset=offset if seed == 2 else 0.0) for seed, shape in enumerate(shapes)]


@pytest.mark.parametrize("offset", [0.0, -4.0], ids=["half active", "few active"])
@pytest.mark.parametrize("n_rows", [1, 5, N, 100])
def test_every_way_has_the_sums_firings_and_gradients_of_the_definition(offset, n_rows, monkeypatch):
    monkeypatch.setattr(relu_step, "CHUNK_BYTES", n_rows * F * 8)
    given, outcomes = leaves(offset=offset), []
    for way in WAYS:
        step = way(*given)
        gradients = torch.autograd.grad(0.7 * step.squared + 1.3 * step.size, given)
        outcomes.append((step.squared.detach(), step.size.detach(), step.fires_F, gradients))
    for wanted, found in pairwise(outcomes):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("part", ["squared", "size"])
def test_either_sum_alone_has_its_gradients(part):
    given = leaves()
    wanted, found = (
        torch.autograd.grad(getattr(way(*given), part), given, allow_unused=True, materialize_grads=True)
        for way in (relu_step_reference, dense_relu_step)
    )
    torch.testing.assert_close(found, wanted)


def test_dense_steps_leave_one_matrix_of_codes_for_the_backward_pass():
    given, kept = leaves(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda it: it):
        dense_relu_step(*given)
    assert kept.count((N, F)) == 1


def test_nan_shows_in_both_sums_and_in_every_gradient():
    x_ND, *weights = leaves()
    x_ND = x_ND.detach().clone()
    x_ND[3, 2] = torch.nan
    step = dense_relu_step(x_ND, *weights)
    assert step.squared.isnan() and step.size.isnan()
    assert all(gradient.isnan().any() for gradient in torch.autograd.grad(step.squared, weights[:4]))


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_of_no_tokens_has_no_error(way):
    x_ND, *weights = leaves()
    step = way(x_ND[:0], *weights)
    assert float(step.squared.detach()) == float(step.size.detach()) == int(step.fires_F.sum()) == 0
