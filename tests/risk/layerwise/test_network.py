"""Networks as plain weights, and torch models taken up as such."""

import pytest
import torch
from torch import nn

from bathyscope.errors import ConfigError, ModelError
from bathyscope.risk.layerwise.network import Dense, Network, as_network, random_network


def test_a_torch_model_computes_the_same_as_its_network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 5),
        nn.ReLU(),
        nn.Linear(5, 4),
        nn.Linear(4, 4, bias=False),
        nn.GELU(),
        nn.Identity(),
        nn.Linear(4, 2),
    )
    network = as_network(model)
    assert [layer.activation for layer in network.layers] == ["relu", "identity", "gelu", "identity"]
    x_NI = torch.randn(7, 3)
    torch.testing.assert_close(network(x_NI), model(x_NI).detach())


def test_a_network_is_taken_as_it_is():
    network = random_network(width=3, n_hidden=1, seed=0)
    assert as_network(network) is network


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh()), "module 1 is Tanh"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), "module 0 is ReLU"),
        (nn.Sequential(nn.Linear(2, 2), nn.GELU(approximate="tanh")), "module 1 is GELU"),
    ],
)
def test_other_modules_are_refused_by_name(model, named):
    with pytest.raises(ModelError, match=named):
        as_network(model)


def test_layers_that_do_not_fit_are_refused():
    first, second = Dense(torch.ones(3, 2), torch.zeros(3)), Dense(torch.ones(3, 2), torch.zeros(3))
    with pytest.raises(ConfigError, match="layer 0 has 3 neurons and layer 1 reads 2"):
        Network((first, second))


def test_no_layers_are_refused():
    with pytest.raises(ConfigError, match="no layers"):
        Network(())


def test_weights_that_are_not_numbers_are_refused():
    with pytest.raises(ConfigError, match="NaN"):
        Dense(torch.tensor([[float("nan")]]), torch.zeros(1))


def test_the_same_seed_gives_the_same_network():
    first, second, third = (random_network(width=4, n_hidden=1, seed=seed).layers[0].W_DI for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_linear_layer_can_follow():
    assert [layer.activation for layer in random_network(width=2, n_hidden=1, seed=0, is_linear_last=True).layers] == [
        "relu",
        "identity",
    ]
