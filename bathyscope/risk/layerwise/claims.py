"""Which terms of the third cumulants are kept: claims about the outputs, carried backward, say which ones matter.

A claim at a layer is a direction j on what its neurons read: a neuron itself, whose mean has the term κ3(j, j, j)
f'''/6, or a neuron further up, pulled back through weights and mean slopes. Their law is kept as its second moment

    C_l = diag(ω_l) + A_l W_(l+1)ᵀ C_(l+1) W_(l+1) A_l,   ω_l(i) ∝ E[f'''(z_i)]² · E (∂ output / ∂ h_i)²

A term (u, v) changes the claim by 3 (j·u)(j·v)². For normal j with covariance G = Wᵀ C W on the layer below, the mean
square of that is 27 G_uu G_vv² + 108 G_uv² G_vv, and the terms with the largest ones are kept.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.moments import Moments, Singles, of_inputs, read_singly
from bathyscope.risk.layerwise.network import Network
from bathyscope.risk.layerwise.propagate import activated_singly, through
from bathyscope.risk.layerwise.slopes import mean_derivatives
from bathyscope.risk.layerwise.third import Third

By = Literal["claims", "size", "chance"]
"""`size`: |u|² |v|⁴, blind to what comes after. `chance`: at random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How many of the terms that each layer adds are kept, and which."""

    share: float
    """Of the terms that a layer adds; above 0, at most 1."""
    by: By = "claims"
    """What ranks the terms."""
    seed: int = 0
    """Of `chance`."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"share is {self.share}: expected above 0 and at most 1")
        if self.by not in get_args(By):
            raise ConfigError(f"by is {self.by!r}; expected one of: {', '.join(get_args(By))}")


def propagate_kept(network: Network, keep: Keep) -> Singles:
    """Cumulants of each output at order 3, from a share of the terms that each layer adds."""
    laws = claims(network) if keep.by == "claims" else [None] * (len(network.layers) - 1)
    generator = torch.Generator().manual_seed(keep.seed)
    below = of_inputs(network.n_inputs, order=3)
    for layer, G_DD in zip(network.layers[:-1], laws, strict=True):
        n_old = 0 if below.third is None else below.third.n_terms
        below = through(layer, below)
        assert below.third is not None
        new = below.third.kept(torch.arange(n_old, below.third.n_terms))
        rank_R = torch.rand(new.n_terms, generator=generator) if keep.by == "chance" else worth(new, G_DD)
        best_K = rank_R.topk(max(1, round(keep.share * new.n_terms))).indices.sort().values
        third = below.third.kept(torch.cat([torch.arange(n_old), n_old + best_K]))
        below = Moments(below.mean_D, below.variance_D, below.covariance_DD, third, below.fourth)
    last = network.layers[-1]
    return activated_singly(last.activation, read_singly(last, below))


def claims(network: Network) -> list[Float[Tensor, "_ _"]]:
    """G for the outputs of each layer but the last: second moments of what further layers claim about them."""
    derivatives = mean_derivatives(network, n=4)
    reach_DD = torch.eye(network.n_outputs, dtype=torch.float64)  # E over outputs of ∂ output / ∂ h, squared
    law_DD = torch.zeros_like(reach_DD)
    found: list[Tensor] = []
    for layer, (_, slope_D, _, third_D) in reversed(list(zip(network.layers, derivatives, strict=True))):
        direct_D = third_D.square() * reach_DD.diagonal()
        law_DD = torch.outer(slope_D, slope_D) * law_DD + torch.diag(direct_D / direct_D.sum().clamp(min=1e-300))
        W_DI = layer.W_DI.double()
        law_DD = W_DI.T @ law_DD @ W_DI
        reach_DD = W_DI.T @ (torch.outer(slope_D, slope_D) * reach_DD) @ W_DI
        found.append(law_DD)
    return found[-2::-1]


def worth(third: Third, G_DD: Float[Tensor, "D D"] | None) -> Float[Tensor, " R"]:
    """The mean square of what each term changes in a claim; without claims its size, |u|² |v|⁴."""
    if G_DD is None:
        return third.U_DR.square().sum(0) * third.V_DR.square().sum(0) ** 2
    Gv_DR = G_DD.to(third.V_DR) @ third.V_DR
    uu_R = (third.U_DR * (G_DD.to(third.U_DR) @ third.U_DR)).sum(0)
    uv_R, vv_R = (third.U_DR * Gv_DR).sum(0), (third.V_DR * Gv_DR).sum(0)
    return 27 * uu_R * vv_R**2 + 108 * uv_R**2 * vv_R
