"""Hermite coefficients: mean derivatives of powers of an activation at a normal variable.

    c_p = E ∂^p [f(Z)^n],   Z ~ N(m, s²)

Closed for ReLU and the identity; for GELU by Gauss-Hermite quadrature of c_p = E[f(Z)^n He_p((Z - m)/s)] / s^p (Stein).
"""

import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.risk.layerwise.network import Activation, apply

NODES = 100
"""Points of the quadrature."""


def coefficients(
    activation: Activation, power: int, mean_D: Float[Tensor, " D"], std_D: Float[Tensor, " D"], *, n: int
) -> Float[Tensor, "P D"]:
    """c_0 … c_{n-1} of `activation ** power` for each neuron; `std_D` is above 0."""
    match activation:
        case "relu":
            return _of_relu(power, mean_D, std_D, n)
        case "gelu" | "identity":
            return by_quadrature(activation, power, mean_D, std_D, n=n)


def _of_relu(power: int, mean_D: Tensor, std_D: Tensor, n: int) -> Tensor:
    """The derivatives of z₊^k are k z₊^(k-1), …, k!·1[z > 0], and then k! times those of a delta function at 0."""
    tau_D = mean_D / std_D
    density_D = torch.exp(-0.5 * tau_D**2) / math.sqrt(2 * math.pi)
    moments = [torch.special.ndtr(tau_D)]
    moments.append(mean_D * moments[0] + std_D * density_D)
    for k in range(2, power + 1):
        moments.append(mean_D * moments[k - 1] + (k - 1) * std_D**2 * moments[k - 2])
    rows = [math.perm(power, p) * moments[power - p] for p in range(min(n, power + 1))]
    for k, he_D in zip(range(n - len(rows)), hermite(tau_D), strict=False):
        rows.append(math.factorial(power) * (-1) ** k * he_D * density_D / std_D ** (k + 1))
    return torch.stack(rows)


def by_quadrature(
    activation: Activation, power: int, mean_D: Float[Tensor, " D"], std_D: Float[Tensor, " D"], *, n: int
) -> Float[Tensor, "P D"]:
    """The same for any activation; exact for polynomials, to rounding for smooth ones, to a few digits at a kink."""
    nodes, weights = gauss_hermite(NODES)
    weighted_QD = apply(activation, mean_D + std_D * nodes[:, None]) ** power * weights[:, None]
    rows = [
        he_Q @ weighted_QD / (math.sqrt(2 * math.pi) * std_D**p)
        for p, he_Q in zip(range(n), hermite(nodes), strict=False)
    ]
    return torch.stack(rows)


@functools.cache
def gauss_hermite(n: int) -> tuple[Float[Tensor, " Q"], Float[Tensor, " Q"]]:
    """Nodes and weights, in float64; Σ w f(x) ≈ √(2π) E f(Z) for a standard normal Z."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


def hermite(x: Float[Tensor, "..."]) -> Iterator[Float[Tensor, "..."]]:
    """He_0(x), He_1(x), … without end (the probabilists' polynomials)."""
    before, now, k = torch.zeros_like(x), torch.ones_like(x), 0
    while True:
        yield now
        before, now, k = now, x * now - k * before, k + 1
