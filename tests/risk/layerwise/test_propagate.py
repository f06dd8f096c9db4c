"""Propagated moments: exact where they can be, close to long sampling elsewhere, better with each order."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from risk.layerwise.networks import central, small

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.network import Dense, Network, random_network
from bathyscope.risk.layerwise.propagate import _known, propagate, propagate_singly
from bathyscope.risk.layerwise.truth import long_sample


def test_a_linear_network_is_exact_at_every_order():
    network = small("identity", n_hidden=3)
    W, b = torch.eye(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    for layer in network.layers:
        W, b = layer.W_DI @ W, layer.W_DI @ b + layer.b_D
    for order in (2, 3):
        moments = propagate(network, order=order)
        torch.testing.assert_close(moments.mean_D, b)
        torch.testing.assert_close(moments.covariance_DD, W @ W.T)
    assert float(propagate(network, order=3).third.dense().abs().max()) == 0
    torch.testing.assert_close(propagate_singly(network, order=3).fourth_D, torch.zeros_like(b))


def test_one_relu_layer_has_the_covariance_of_the_arc_cosine_kernel():
    """E relu(z_1) relu(z_2) = s_1 s_2 (sin θ + (π - θ) cos θ)/2π (Cho & Saul 2009)."""
    W_DI = torch.tensor([[1.0, 0, 0], [0.4, 1.2, 0], [-0.3, 0.2, 0.8]], dtype=torch.float64)
    found = propagate(Network((Dense(W_DI, torch.zeros(3, dtype=torch.float64), "relu"),)), order=3)
    norm_D = W_DI.norm(dim=1)
    theta_DD = torch.acos(((W_DI @ W_DI.T) / torch.outer(norm_D, norm_D)).clamp(-1, 1))
    kernel_DD = torch.outer(norm_D, norm_D) * (theta_DD.sin() + (math.pi - theta_DD) * theta_DD.cos()) / (2 * math.pi)
    torch.testing.assert_close(found.mean_D, norm_D / math.sqrt(2 * math.pi))
    expected_DD = kernel_DD - torch.outer(found.mean_D, found.mean_D)
    torch.testing.assert_close(found.covariance_DD, expected_DD, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.covariance_DD.diagonal(), norm_D**2 * (0.5 - 1 / (2 * math.pi)))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_one_layer_agrees_with_long_sampling_in_every_cumulant(activation):
    """z is normal, so that only the expansion in the covariance is cut off; five standard errors of each figure."""
    network = small(activation, n_hidden=1, scale=0.5)
    generator = torch.Generator().manual_seed(1)
    parts = [central(network(torch.randn(20_000, 6, generator=generator))) for _ in range(20)]
    found = propagate(network, order=3)
    single = propagate_singly(network, order=3)
    of_parts = [
        (found.covariance_DD, [part[1] for part in parts]),
        (single.third_D, [part[0].third_D for part in parts]),
        (single.fourth_D, [part[0].fourth_D for part in parts]),
        (found.third.slices(), [part[2] for part in parts]),
        (found.fourth.pairs_DD, [part[3] for part in parts]),
        (found.fourth.triples_DD + found.fourth.pairs_DD.diag().diag(), [part[4] for part in parts]),
    ]
    for value, seen_in_parts in of_parts:
        seen = torch.stack(seen_in_parts)
        allowed = 5 * seen.std(0) / math.sqrt(len(seen)) + 3e-4
        assert bool(((value - seen.mean(0)).abs() <= allowed).all())


def test_each_order_is_closer_to_the_truth_of_a_wide_network():
    network = random_network(width=64, n_hidden=3, seed=0)
    truth = long_sample(network, 2**17, seed=1)
    errors = [truth.excess(propagate_singly(network, order=order).mean_D).value for order in (1, 2, 3)]
    assert errors[0] > 4 * errors[1] > 0
    assert errors[1] > 4 * abs(errors[2])


def test_gelu_networks_get_closer_with_each_order_too():
    network = random_network(width=64, n_hidden=3, seed=0, activation="gelu")
    truth = long_sample(network, 2**16, seed=1)
    errors = [truth.excess(propagate_singly(network, order=order).mean_D).value for order in (1, 2, 3)]
    assert errors[0] > 4 * errors[1] > 16 * abs(errors[2])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_single_cumulants_are_those_of_the_whole_moments(order):
    network = small(n_hidden=3)
    whole, single = propagate(network, order=order), propagate_singly(network, order=order)
    assert whole.order == order
    torch.testing.assert_close(single.mean_D, whole.mean_D)
    torch.testing.assert_close(single.variance_D, whole.variance_D)
    if order == 3:
        torch.testing.assert_close(single.third_D, whole.third.diagonal(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(single.fourth_D, whole.fourth.pairs_DD.diagonal())


def test_neurons_in_another_order_give_the_same_outputs():
    network = small(width=8, n_hidden=2)
    first, second = network.layers
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    moved = Network(
        (
            Dense(first.W_DI[order], first.b_D[order], first.activation),
            Dense(second.W_DI[:, order], second.b_D, second.activation),
        )
    )
    for order in (1, 2, 3):
        one, other = (propagate_singly(each, order=order) for each in (network, moved))
        torch.testing.assert_close(one.mean_D, other.mean_D, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("entry", [propagate, propagate_singly])
def test_an_order_that_does_not_exist_is_refused(entry):
    with pytest.raises((ConfigError, TypeCheckError), match="order"):
        entry(small(), order=4)
    with pytest.raises(ConfigError, match="order is 4; expected 1, 2 or 3"):
        _known(4)


def test_a_neuron_that_does_not_depend_on_the_input_is_refused_by_number():
    W_DI = torch.eye(3, dtype=torch.float64)
    W_DI[1] = 0
    with pytest.raises(ConfigError, match="neuron 1 of a layer has variance 0"):
        propagate(Network((Dense(W_DI, torch.zeros(3, dtype=torch.float64), "relu"),)))
