"""Moments of a network's outputs from its weights alone, by cumulant propagation (arXiv 2605.05179; our compact form).

Each layer is a linear step, exact for cumulants, and an activation, expanded around the normal law with the same means
and covariances. With c_p(i) = E ∂^p F(Z_i), F a function of one neuron, corrected for the neuron's own κ_iii and
κ_iiii,

    Cov(F(z_i), G(z_j)) = Σ_p Σ_ij^p c_p(i) d_p(j) / p!  +  κ_iij c_2(i) d_1(j)/2 + κ_ijj c_1(i) d_2(j)/2
                          + κ_iijj c_2(i) d_2(j)/4 + κ_iiij c_3(i) d_1(j)/6 + κ_ijjj c_1(i) d_3(j)/6        (i ≠ j)

With F and G powers of f - E f, f the activation, this gives every cumulant in which two neurons occur. Third cumulants
of three different neurons are the leading trees: κ_ijk a_1(i) a_1(j) a_1(k) and a_2(i) a_1(j) a_1(k) Σ_ij Σ_ik in
three orders. For random weights the paper has mean square errors that fall as width^-order; they grow with depth.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.fourth import Fourth, Trees
from bathyscope.risk.layerwise.hermite import coefficients
from bathyscope.risk.layerwise.moments import Moments, Pairs, Singles, cumulants, of_inputs, read_pairs, read_singly
from bathyscope.risk.layerwise.network import Activation, Dense, Network, as_network
from bathyscope.risk.layerwise.third import Third

Order = Literal[1, 2, 3]
"""1: means and variances. 2: covariances, too. 3: third cumulants and the fourth ones of pairs, too."""
TERMS = 8
"""Powers of a covariance that are kept."""


def propagate(network: Network | nn.Sequential, *, order: Order = 3) -> Moments:
    """Moments of the outputs for inputs from N(0, I).

    Costs about L·width² at order 1, L·width³ at order 2 and L²·width³ at order 3. Raises ConfigError for another order,
    or where a neuron has no variance.
    """
    network = as_network(network)
    moments = of_inputs(network.n_inputs, order=_known(order))
    for layer in network.layers:
        moments = through(layer, moments)
    return moments


def propagate_singly(network: Network | nn.Sequential, *, order: Order = 3) -> Singles:
    """Cumulants of each output alone, which is all that a mean or a tail needs: the last layer costs less."""
    network = as_network(network)
    below = of_inputs(network.n_inputs, order=_known(order))
    for layer in network.layers[:-1]:
        below = through(layer, below)
    last = network.layers[-1]
    return activated_singly(last.activation, read_singly(last, below))


def _known(order: int) -> int:
    if order not in get_args(Order):
        raise ConfigError(f"order is {order}; expected 1, 2 or 3")
    return order


def through(layer: Dense, below: Moments) -> Moments:
    """Moments of a layer's outputs from those of its inputs."""
    if below.covariance_DD is None:
        one = activated_singly(layer.activation, read_singly(layer, below))
        return Moments(one.mean_D, one.variance_D)
    pairs = read_pairs(layer, below)
    return activated(layer.activation, pairs.singly(layer.W_DI.double() @ below.mean_D + layer.b_D), pairs)


def activated(activation: Activation, z: Singles, pairs: Pairs) -> Moments:
    """Moments of f(z), to the order that `pairs` has."""
    if activation == "identity":
        return _as_read(z, pairs)
    one = activated_singly(activation, z)
    f_PD = corrected(activation, 1, z)
    covariance_DD = of_pairs(f_PD, f_PD, pairs)
    covariance_DD.diagonal().copy_(one.variance_D)
    if pairs.third is None or pairs.third_iij_DD is None:
        return Moments(one.mean_D, one.variance_D, covariance_DD)
    square_PD = corrected(activation, 2, z)
    around_PD = square_PD - 2 * one.mean_D * f_PD  # of (f - E f)², but for the term without a derivative
    cube_PD = corrected(activation, 3, z) - 3 * one.mean_D * square_PD + 3 * one.mean_D**2 * f_PD
    third_DD = of_pairs(around_PD, f_PD, pairs)
    third_DD.diagonal().copy_(one.third_D)
    pairs_DD = of_pairs(around_PD, around_PD, pairs) - 2 * covariance_DD.square()
    pairs_DD.diagonal().copy_(one.fourth_D)
    triples_DD = of_pairs(cube_PD, f_PD, pairs) - 3 * one.variance_D[:, None] * covariance_DD
    triples_DD.diagonal().zero_()
    q_PD = torch.stack([around_PD[0], around_PD[1], around_PD[2] - 2 * f_PD[1] ** 2])
    apart_DD = pairs.covariance_DD - torch.diag(pairs.covariance_DD.diagonal())
    fourth = Fourth(pairs_DD, triples_DD, Trees(f_PD[:3], q_PD, apart_DD, pairs.third, pairs.third_iij_DD))
    return Moments(one.mean_D, one.variance_D, covariance_DD, trees(f_PD, pairs, third_DD), fourth)


def _as_read(z: Singles, pairs: Pairs) -> Moments:
    """The moments of z itself; of its fourth cumulants those of three different neurons are left out."""
    if pairs.fourth_iijj_DD is None or pairs.fourth_iiij_DD is None:
        return Moments(z.mean_D, z.variance_D, pairs.covariance_DD)
    triples_DD = pairs.fourth_iiij_DD - torch.diag(pairs.fourth_iiij_DD.diagonal())
    fourth = Fourth(pairs.fourth_iijj_DD, triples_DD)
    return Moments(z.mean_D, z.variance_D, pairs.covariance_DD, pairs.third, fourth)


def activated_singly(activation: Activation, z: Singles) -> Singles:
    """Cumulants of single f(z_i)."""
    if activation == "identity":
        return z
    return cumulants(*(corrected(activation, power, z, n=1)[0] for power in (1, 2, 3, 4)))


def corrected(activation: Activation, power: int, z: Singles, *, n: int = TERMS + 1) -> Float[Tensor, "P D"]:
    """E ∂^p f(z_i)^power for p < n, with the first Edgeworth terms: c_p + κ_iii c_(p+3)/6 + κ_iiii c_(p+4)/24."""
    c_PD = coefficients(activation, power, z.mean_D, z.std_D, n=n + 4)
    return c_PD[:n] + z.third_D / 6 * c_PD[3 : n + 3] + z.fourth_D / 24 * c_PD[4 : n + 4]


def of_pairs(c_PD: Float[Tensor, "P D"], d_PD: Float[Tensor, "P D"], z: Pairs) -> Float[Tensor, "D D"]:
    """Cov(F(z_i), G(z_j)) from the coefficients of F and G; the diagonal means nothing."""
    found_DD = torch.zeros_like(z.covariance_DD)
    for p in range(len(c_PD) - 1, 0, -1):
        found_DD.addr_(c_PD[p], d_PD[p] / math.factorial(p)).mul_(z.covariance_DD)
    if z.third_iij_DD is None or z.fourth_iijj_DD is None or z.fourth_iiij_DD is None:
        return found_DD
    for cumulant_DD, p, q in (
        (z.third_iij_DD, 2, 1),
        (z.third_iij_DD.T, 1, 2),
        (z.fourth_iijj_DD, 2, 2),
        (z.fourth_iiij_DD, 3, 1),
        (z.fourth_iiij_DD.T, 1, 3),
    ):
        found_DD.addcmul_(cumulant_DD, torch.outer(c_PD[p] / math.factorial(p), d_PD[q] / math.factorial(q)))
    return found_DD


def trees(f_PD: Float[Tensor, "P D"], z: Pairs, third_DD: Float[Tensor, "D D"]) -> Third:
    """The third cumulants of f(z): those of z carried on, leading trees, and terms that make every κ_iij `third_DD`.

    The trees have their centre at one neuron each, u = a_2 e_c and v = a_1 Σ_c (without its own entry); the last terms
    are u = (what is missing at κ_ccj over j) and v = e_c. So each layer adds 2 D terms.
    """
    assert z.third is not None
    assert z.third_iij_DD is not None
    slope_D, bend_D = f_PD[1], f_PD[2]
    apart_DD = slope_D[:, None] * z.covariance_DD
    apart_DD.diagonal().zero_()
    missing_DD = third_DD - torch.outer(slope_D**2, slope_D) * z.third_iij_DD - apart_DD.square() * bend_D
    missing_DD.diagonal().div_(3)
    one_DD = torch.eye(len(slope_D))
    new = Third(torch.cat([one_DD * bend_D.float(), missing_DD.T.float()], 1), torch.cat([apart_DD.float(), one_DD], 1))
    return z.third.scaled(slope_D).joined(new)
