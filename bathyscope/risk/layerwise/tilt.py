"""P(output > b) by importance sampling, with inputs drawn where the propagated core expects the event: unbiased.

For a nearly normal z, E[x | z = b] ≈ θ = J (b - E z)/Var z, J the mean Jacobian. Inputs come from a mixture: N(θ, I)
and N(θ/2, I) for each output asked about, and N(0, I) with weight 1/10, so that no weight is above 10. Where a network
is far from linear, hits lie between 0 and θ: without the halfway ones, few of them carry most of the weight. All
outputs share all inputs:

    p̂ = mean of w(x) 1[z(x) > b],   1/w(x) = 1/10 + 9/10 · mean over shifts of exp(θ·x - |θ|²/2)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.network import Network, as_network
from bathyscope.risk.layerwise.propagate import propagate_singly
from bathyscope.risk.layerwise.sampling import BATCH
from bathyscope.risk.layerwise.slopes import mean_jacobian

PLAIN_SHARE = 0.1
"""Share of inputs from the law itself."""
STRENGTHS = (0.5, 1.0)
"""How far along θ inputs are drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Tilted:
    """Unbiased estimates for the outputs asked about, with what they rest on and cost."""

    p_O: Float[Tensor, " O"]
    """Probabilities."""
    error_O: Float[Tensor, " O"]
    """Standard errors; not to be trusted where few hits carry the weight."""
    n_hits_O: Int[Tensor, " O"]
    """Inputs with the event."""
    effective_hits_O: Float[Tensor, " O"]
    """(Σ w)²/Σ w² over hits: as many equally weighted ones would do."""
    n_forward: int
    """Inputs that the network was run on."""

    def interval(self) -> tuple[Float[Tensor, " O"], Float[Tensor, " O"]]:
        """Ends of 95 % intervals, normal for log p; with no hits 0 and 30/n, because no weight is above 10."""
        factor_O = torch.exp(1.96 * self.error_O / self.p_O)
        none_O = self.n_hits_O == 0
        low_O = torch.where(none_O, 0.0, self.p_O / factor_O)
        high_O = torch.where(none_O, 3 / PLAIN_SHARE / self.n_forward, self.p_O * factor_O)
        return low_O, high_O.clamp(max=1)


def tilted(
    network: Network | nn.Sequential, threshold: float, n: int, *, seed: int, outputs: Sequence[int] | None = None
) -> Tilted:
    """P(output > threshold) for `outputs`, by default all, from `n` inputs (float32).

    The fewer outputs are asked about, the more of the inputs are drawn for each. Raises ConfigError for an output that
    the network does not have, or fewer than two inputs.
    """
    network = as_network(network)
    asked = list(range(network.n_outputs)) if outputs is None else list(outputs)
    wrong = [each for each in asked if not 0 <= each < network.n_outputs]
    if wrong or not asked or n < 2:
        raise ConfigError(
            f"outputs {wrong or asked} and n {n}: expected outputs from 0 to {network.n_outputs - 1}, n at least 2"
        )
    z = propagate_singly(network, order=2)
    reach_O = ((threshold - z.mean_D) / z.variance_D).clamp(min=0)
    theta_OI = (mean_jacobian(network, first=0) * reach_O[:, None])[asked].float()
    shifts_CI = torch.cat([strength * theta_OI for strength in STRENGTHS])
    generator = torch.Generator().manual_seed(seed)
    sums_3O = torch.zeros(3, len(asked), dtype=torch.float64)
    for start in range(0, n, BATCH):
        x_NI = _draw(shifts_CI, min(BATCH, n - start), generator)
        w_N = _weights(shifts_CI, x_NI)
        hit_NO = (network(x_NI)[:, asked] > threshold).double()
        sums_3O += torch.stack([w_N, w_N**2, torch.ones_like(w_N)]) @ hit_NO
    first_O, second_O, hits_O = sums_3O
    p_O = first_O / n
    error_O = ((second_O / n - p_O**2).clamp(min=0) / (n - 1)).sqrt()
    effective_O = torch.where(hits_O > 0, first_O**2 / second_O, 0.0)
    return Tilted(p_O, error_O, hits_O.long(), effective_O, n)


def _draw(shifts_CI: Float[Tensor, "C I"], n: int, generator: torch.Generator) -> Float[Tensor, "N I"]:
    """Inputs from the mixture."""
    component_N = torch.randint(len(shifts_CI), (n,), generator=generator)
    is_tilted_N = torch.rand(n, generator=generator) >= PLAIN_SHARE
    return torch.randn(n, shifts_CI.shape[1], generator=generator) + shifts_CI[component_N] * is_tilted_N[:, None]


def _weights(shifts_CI: Float[Tensor, "C I"], x_NI: Float[Tensor, "N I"]) -> Float[Tensor, " N"]:
    """Density of N(0, I) over that of the mixture, in float64."""
    log_ratio_NC = (x_NI @ shifts_CI.T - shifts_CI.square().sum(1) / 2).double()
    log_mean_N = torch.logsumexp(log_ratio_NC, 1) - math.log(len(shifts_CI))
    log_plain = torch.full_like(log_mean_N, math.log(PLAIN_SHARE))
    return torch.exp(-torch.logaddexp(log_plain, log_mean_N + math.log1p(-PLAIN_SHARE)))
