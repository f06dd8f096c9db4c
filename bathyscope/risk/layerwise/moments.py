"""What is known of a layer: cumulants up to an order, of what its activation reads and of what it gives."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.fourth import Fourth
from bathyscope.risk.layerwise.network import Dense
from bathyscope.risk.layerwise.third import Third


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Cumulants of the outputs of a layer. What an order leaves out is taken to be that of independent normals."""

    mean_D: Float[Tensor, " D"]
    """Means."""
    variance_D: Float[Tensor, " D"]
    """Variances."""
    covariance_DD: Float[Tensor, "D D"] | None = None
    """Covariances; None at order 1."""
    third: Third | None = None
    """Third cumulants; None at orders 1 and 2."""
    fourth: Fourth | None = None
    """Fourth cumulants, as far as they matter one layer up; None at orders 1 and 2."""

    @property
    def order(self) -> int:
        """The order of the propagation: 1, 2 or 3."""
        return 1 if self.covariance_DD is None else 2 if self.third is None else 3


@dataclass(frozen=True, slots=True, eq=False)
class Singles:
    """Cumulants of single neurons."""

    mean_D: Float[Tensor, " D"]
    """Means."""
    variance_D: Float[Tensor, " D"]
    """Variances."""
    third_D: Float[Tensor, " D"]
    """κ_iii; zeros below order 3."""
    fourth_D: Float[Tensor, " D"]
    """κ_iiii; zeros below order 3."""

    @property
    def std_D(self) -> Float[Tensor, " D"]:
        """Standard deviations. Raises ConfigError where one is zero or not a number."""
        if not bool((self.variance_D > 0).all()):
            neuron = int((~(self.variance_D > 0)).nonzero()[0, 0])
            raise ConfigError(
                f"neuron {neuron} of a layer has variance {float(self.variance_D[neuron]):.3g}: it does not depend on "
                "the input, or the order is too low for this depth; leave the neuron out, or sample"
            )
        return self.variance_D.sqrt()


def cumulants(
    one_D: Float[Tensor, " D"], two_D: Float[Tensor, " D"], three_D: Float[Tensor, " D"], four_D: Float[Tensor, " D"]
) -> Singles:
    """Cumulants from E f, E f², E f³ and E f⁴."""
    variance_D = two_D - one_D**2
    third_D = three_D - 3 * one_D * two_D + 2 * one_D**3
    fourth_D = four_D - 4 * one_D * three_D + 6 * one_D**2 * two_D - 3 * one_D**4 - 3 * variance_D**2
    return Singles(one_D, variance_D, third_D, fourth_D)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Cumulants of z = W h + b in which two neurons occur, and the third ones of all."""

    covariance_DD: Float[Tensor, "D D"]
    """Cov(z_i, z_j)."""
    third: Third | None = None
    """Third cumulants; None at order 2, as the following."""
    third_iij_DD: Float[Tensor, "D D"] | None = None
    """κ_iij."""
    fourth_iijj_DD: Float[Tensor, "D D"] | None = None
    """κ_iijj; κ_iiii on its diagonal."""
    fourth_iiij_DD: Float[Tensor, "D D"] | None = None
    """κ_iiij."""

    def singly(self, mean_D: Float[Tensor, " D"]) -> Singles:
        """The cumulants of single neurons among these, beside their means."""
        third_D = fourth_D = torch.zeros_like(mean_D)
        if self.third is not None and self.fourth_iijj_DD is not None:
            third_D, fourth_D = self.third.diagonal(), self.fourth_iijj_DD.diagonal()
        return Singles(mean_D, self.covariance_DD.diagonal(), third_D, fourth_D)


def of_inputs(n: int, *, order: int) -> Moments:
    """The moments of N(0, I) in `n` dimensions."""
    one_D, zero_DD = torch.ones(n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
    return Moments(
        mean_D=torch.zeros_like(one_D),
        variance_D=one_D,
        covariance_DD=None if order == 1 else torch.eye(n, dtype=torch.float64),
        third=None if order < 3 else Third(torch.zeros(n, 0), torch.zeros(n, 0)),
        fourth=None if order < 3 else Fourth(zero_DD, zero_DD),
    )


def read_singly(layer: Dense, below: Moments) -> Singles:
    """Cumulants of each `W h + b` alone, from those of h."""
    W_OD = layer.W_DI.double()
    mean_O = W_OD @ below.mean_D + layer.b_D
    if below.covariance_DD is None:
        return Singles(mean_O, W_OD.square() @ below.variance_D, torch.zeros_like(mean_O), torch.zeros_like(mean_O))
    variance_O = (W_OD @ below.covariance_DD * W_OD).sum(1)
    if below.third is None or below.fourth is None:
        return Singles(mean_O, variance_O, torch.zeros_like(mean_O), torch.zeros_like(mean_O))
    third = below.third.through(W_OD)
    return Singles(mean_O, variance_O, third.diagonal(), below.fourth.iiii(W_OD, third))


def read_pairs(layer: Dense, below: Moments) -> Pairs:
    """Cumulants of `W h + b` that two neurons share: a tensor of order d is multiplied by W on each of its d sides."""
    assert below.covariance_DD is not None
    W_OD = layer.W_DI.double()
    covariance_OO = W_OD @ below.covariance_DD @ W_OD.T
    if below.third is None or below.fourth is None:
        return Pairs(covariance_OO)
    third = below.third.through(W_OD)
    iijj_OO, iiij_OO = below.fourth.iijj(W_OD), below.fourth.iiij(W_OD)
    iijj_OO.diagonal().copy_(below.fourth.iiii(W_OD, third))
    return Pairs(covariance_OO, third, third.slices(), iijj_OO, iiij_OO)
