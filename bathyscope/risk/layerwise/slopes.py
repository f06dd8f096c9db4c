"""How a change below reaches the outputs on average: mean slopes of each layer, and their products with the weights."""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.risk.layerwise.hermite import coefficients
from bathyscope.risk.layerwise.moments import of_inputs, read_singly
from bathyscope.risk.layerwise.network import Network
from bathyscope.risk.layerwise.propagate import through


def mean_derivatives(network: Network, *, n: int) -> list[Float[Tensor, "P _"]]:
    """E f(z), E f'(z), … up to the derivative n - 1, of each layer's neurons, from a propagation of order 2."""
    below, found = of_inputs(network.n_inputs, order=2), []
    for layer in network.layers:
        z = read_singly(layer, below)
        found.append(coefficients(layer.activation, 1, z.mean_D, z.std_D, n=n))
        below = through(layer, below)
    return found


def mean_jacobian(network: Network, *, first: int) -> Float[Tensor, "D I"]:
    """∂ outputs / ∂ inputs of layer number `first`, with each slope at its mean; a row for each output."""
    slopes = [derivatives_PD[1] for derivatives_PD in mean_derivatives(network, n=2)]
    found = torch.eye(network.n_outputs, dtype=torch.float64)
    for layer, slope_D in reversed(list(zip(network.layers[first:], slopes[first:], strict=True))):
        found = found * slope_D @ layer.W_DI.double()
    return found
