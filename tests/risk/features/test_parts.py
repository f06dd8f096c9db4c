"""Activations as sums of independent parts: moments, tilts and draws against all combinations, one by one."""

import itertools
import math

import numpy as np
import pytest
import torch

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.risk.features.parts import Parts, drawn, parts_of, tilted, times_taken

N, D, BLOCKS = 4, 3, [[0, 2], [1]]


def small() -> tuple[Parts, torch.Tensor, Dictionary]:
    """Four inputs, three features in two blocks, and a rest: 4³ combinations."""
    generator = torch.Generator().manual_seed(0)
    W_dec = torch.randn(3, D, generator=generator)
    weights = Weights(
        W_enc=W_dec.T.contiguous(), b_enc=torch.tensor([0.0, -0.4, 0.1]), W_dec=W_dec, b_dec=torch.ones(D)
    )
    dictionary = Dictionary(weights=weights, rule=Positive(), subtract_b_dec=True)
    x_ND = torch.randn(N, D, generator=generator)
    return parts_of(dictionary, dictionary.encode(x_ND), x_ND, BLOCKS), x_ND, dictionary


def all_sums(x_ND: torch.Tensor, dictionary: Dictionary) -> torch.Tensor:
    """Every combination of a block's part of one input, the other block's of a second and the rest of a third."""
    codes_NF = dictionary.encode(x_ND).dense()
    blocks = [codes_NF[:, features] @ dictionary.W_dec[features] for features in BLOCKS]
    rest_ND = x_ND - dictionary.reconstruct(x_ND)
    choices = itertools.product(range(N), repeat=3)
    return torch.stack([dictionary.b_dec + blocks[0][i] + blocks[1][j] + rest_ND[k] for i, j, k in choices]).double()


def test_some_blocks_hold_nothing_on_some_inputs():
    parts, _, _ = small()
    assert 0 < float(parts.absent_G.sum()) < 2 * N


def test_parts_of_one_input_are_that_input():
    parts, x_ND, _ = small()
    sums_ND = parts.rest_ND + parts.base_D
    entry_ED = parts.value_E[:, None] * parts.directions_FD[parts.feature_E]
    input_E = parts.input_A.repeat_interleave(parts.length_A)
    torch.testing.assert_close(sums_ND.index_add(0, input_E, entry_ED), x_ND.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_the_log_moment_and_its_slope_are_those_of_all_combinations(size):
    parts, x_ND, dictionary = small()
    sums_MD = all_sums(x_ND, dictionary)
    v_D = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64) * size
    v_D.requires_grad_()
    log_moment = tilted(parts, v_D).log_moment
    (mean_D,) = torch.autograd.grad(log_moment, v_D)
    expected = (sums_MD @ v_D.detach()).logsumexp(0) - math.log(N**3)
    assert float(log_moment.detach()) == pytest.approx(float(expected), rel=1e-5, abs=1e-5)
    share_M = (sums_MD @ v_D.detach()).softmax(0)
    torch.testing.assert_close(mean_D, share_M @ sums_MD, rtol=1e-4, atol=1e-4)


def test_draws_have_the_tilted_law():
    parts, x_ND, dictionary = small()
    sums_MD, v_D = all_sums(x_ND, dictionary), torch.tensor([0.5, -0.5, 0.2], dtype=torch.float64)
    share_M = (sums_MD @ v_D).softmax(0)
    x_MD = drawn(parts, tilted(parts, v_D), 20_000, generator=torch.Generator().manual_seed(1))
    distance, nearest = torch.cdist(x_MD, sums_MD).min(1)
    assert float(distance.max()) < 1e-4, "every draw is one of the combinations"
    distinct = torch.cdist(sums_MD, sums_MD) < 1e-4  # combinations that are alike share their draws
    counted_M = distinct.double() @ (nearest.bincount(minlength=N**3) / 20_000).double()
    np.testing.assert_allclose(counted_M.numpy(), (distinct.double() @ share_M).numpy(), atol=0.015)


def test_weights_undo_the_tilt_on_average():
    parts, _, _ = small()
    v_D = torch.tensor([0.5, -0.5, 0.2], dtype=torch.float64)
    shares = tilted(parts, v_D)
    x_MD = drawn(parts, shares, 20_000, generator=torch.Generator().manual_seed(1))
    weight_M = (shares.log_moment - x_MD @ v_D).exp()
    assert float(weight_M.mean()) == pytest.approx(1, abs=0.02)


def test_every_input_is_taken_alike_without_a_tilt_and_the_parts_add_up_with_one():
    parts, _, _ = small()
    without_N = times_taken(parts, tilted(parts, torch.zeros(D, dtype=torch.float64)))
    torch.testing.assert_close(without_N, torch.full((N,), 3 / N, dtype=torch.float64))
    with_N = times_taken(parts, tilted(parts, torch.tensor([3.0, 1.0, -2.0], dtype=torch.float64)))
    assert float(with_N.sum()) == pytest.approx(3)
    assert float(with_N.std()) > 0.1
