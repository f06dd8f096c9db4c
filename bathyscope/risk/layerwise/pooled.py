"""Cumulants of the outputs, propagated and sampled, pooled by how far each can be trusted: a hybrid for tails.

In units of the neuron's standard deviation the sampled cumulant of order k has the variance k!/n of a nearly normal
law. The mean square of how much the propagated ones disagree with it, over all neurons, is that and their own mean
square error τ². The pooled cumulant is the mean with weights 1/τ² and n/k!. It has no interval: `tilted` has one.
"""

import torch
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.moments import Singles, cumulants
from bathyscope.risk.layerwise.network import Network
from bathyscope.risk.layerwise.propagate import propagate_singly
from bathyscope.risk.layerwise.sampling import of_units

LEAST_OUTPUTS = 16
"""Fewer neurons do not tell how far the propagation is off."""


def pooled(network: Network, n: int, *, seed: int) -> Singles:
    """Cumulants of each output from an order-3 propagation and `n` inputs.

    Raises ConfigError for fewer than 16 outputs or 1,000 inputs.
    """
    if network.n_outputs < LEAST_OUTPUTS or n < 1000:
        raise ConfigError(
            f"{network.n_outputs} outputs and {n} inputs are too few to tell how far propagated cumulants are off; "
            f"expected at least {LEAST_OUTPUTS} and 1,000"
        )
    known, seen = propagate_singly(network, order=3), sampled_cumulants(network, n, seed=seed)
    std_D = known.std_D
    return Singles(
        _pool(known.mean_D, seen.mean_D, std_D, 1 / n),
        _pool(known.variance_D, seen.variance_D, std_D**2, 2 / n),
        _pool(known.third_D, seen.third_D, std_D**3, 6 / n),
        _pool(known.fourth_D, seen.fourth_D, std_D**4, 24 / n),
    )


def _pool(known_D: Tensor, seen_D: Tensor, unit_D: Tensor, error: float) -> Tensor:
    disagreement = float(((known_D - seen_D) / unit_D).square().mean())
    tau = max(0.0, disagreement - error)
    return (error * known_D + tau * seen_D) / (error + tau)


def sampled_cumulants(network: Network, n: int, *, seed: int) -> Singles:
    """Cumulants of each output over `n` inputs."""
    sums_4D = torch.zeros(4, network.n_outputs, dtype=torch.float64)
    for f_UD in of_units(network, network.n_inputs, n, seed=seed, draws="plain"):
        powers = [f_UD.double() ** power for power in (1, 2, 3, 4)]
        sums_4D += torch.stack([each.sum(0) for each in powers])
    return cumulants(*(sums_4D / n))
