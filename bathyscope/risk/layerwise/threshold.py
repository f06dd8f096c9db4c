"""P(output > b) for every output of a network, from its weights: between 0 and 1, with an error indicator."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.network import Dense, Network, as_network
from bathyscope.risk.layerwise.propagate import propagate_singly
from bathyscope.risk.layerwise.tails import tail


@dataclass(frozen=True, slots=True, eq=False)
class Exceedance:
    """Probabilities that outputs are above a threshold."""

    log_p_D: Float[Tensor, " D"]
    """log P(output > b); for small probabilities the logarithm is what keeps digits."""
    indicator_D: Float[Tensor, " D"]
    """|log p - log p at order 2|: how much the last order changed. No interval: the error may be larger."""
    is_clamped_D: Bool[Tensor, " D"]
    """Whether a fourth cumulant had to be raised, because no law of the kind has it: take more care."""

    @property
    def p_D(self) -> Float[Tensor, " D"]:
        """Probabilities."""
        return self.log_p_D.exp()


def threshold_probability(network: Network | nn.Sequential, threshold: float) -> Exceedance:
    """P(output > threshold) for inputs from N(0, I), from an order-3 propagation.

    The last layer is linear, or ReLU with a threshold from 0 on, which is the same event. Raises ConfigError for
    another last layer, a threshold that is not finite, or an output without variance.
    """
    linear, levels_B = with_linear_end(as_network(network), threshold), torch.tensor([threshold], dtype=torch.float64)
    before, found = (tail(propagate_singly(linear, order=order), levels_B) for order in (2, 3))
    return Exceedance(found.log_p_BD[0], (found.log_p_BD - before.log_p_BD)[0].abs(), found.is_clamped_D)


def with_linear_end(network: Network, threshold: float) -> Network:
    """The network up to its last activation, where its outputs are above the threshold in the same cases."""
    last = network.layers[-1]
    if not math.isfinite(threshold):
        raise ConfigError(f"threshold is {threshold}; expected a finite number")
    if last.activation == "gelu" or (last.activation == "relu" and threshold < 0):
        raise ConfigError(
            f"the last layer is {last.activation} and the threshold {threshold}: expected a linear layer at the end, "
            "or ReLU with a threshold from 0 on"
        )
    return Network((*network.layers[:-1], Dense(last.W_DI, last.b_D)))
