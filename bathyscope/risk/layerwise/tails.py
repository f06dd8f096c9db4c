"""P(Z > b) from four cumulants, as a law that has them: always between 0 and 1, and falling in b.

The law is the normal-inverse Gaussian one (Barndorff-Nielsen 1997): Z = μ + β V + √V N, V inverse Gaussian, N normal.
What a layer reads is of that kind: a sum of many neurons is nearly normal, with a variance that depends on the input.
With skewness γ1, excess kurtosis γ2 and r = β/α it has

    r² = γ1² / (3 γ2 - 4 γ1²),   ζ = 3 (1 + 4 r²) / γ2        (Z standardised; exists for 3 γ2 > 5 γ1²)
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.risk.layerwise.hermite import gauss_hermite, hermite
from bathyscope.risk.layerwise.moments import Singles

NODES = 100
"""Points of the quadrature over V."""
LEAST_KURTOSIS = 1e-6
"""Excess kurtosis that stands for none: below what changes a digit."""
MOST_R = 0.9
"""Largest |β/α|. It is 1 where the law ends to exist, and there the quadrature over V meets a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """Log-probabilities of neurons above thresholds."""

    log_p_BD: Float[Tensor, "B D"]
    """log P(Z_d > b)."""
    is_clamped_D: Bool[Tensor, " D"]
    """Whether the fourth cumulant had to be raised, because no law of the kind has it beside this skewness."""


def tail(z: Singles, thresholds_B: Float[Tensor, " B"]) -> Tail:
    """Log-probabilities that each neuron is above each of B thresholds; the normal law where κ_iii = κ_iiii = 0."""
    std_D = z.std_D
    x_BD = (thresholds_B[:, None].double() - z.mean_D) / std_D
    skewness_D, kurtosis_D = z.third_D / std_D**3, z.fourth_D / std_D**4
    least_D = (4 + 1 / MOST_R**2) / 3 * skewness_D**2
    is_clamped_D = kurtosis_D < least_D
    kurtosis_D = torch.maximum(kurtosis_D, least_D).clamp(min=LEAST_KURTOSIS)
    return Tail(_normal_inverse_gaussian(x_BD, skewness_D, kurtosis_D), is_clamped_D)


def _normal_inverse_gaussian(x_BD: Tensor, skewness_D: Tensor, kurtosis_D: Tensor) -> Tensor:
    """log P(Z > x) of the standardised law.

    V in units of its mean is y with density ∝ exp(-ζ s²/2) (1 - tanh(t/2)), y = e^t, s = 2 sinh(t/2): a normal law of s
    with a positive factor. Gauss-Hermite nodes for s keep every term positive.
    """
    r_D = skewness_D / (3 * kurtosis_D - 4 * skewness_D**2).sqrt()
    zeta_D = 3 * (1 + 4 * r_D**2) / kurtosis_D
    scale_D = 1 - r_D**2
    beta_D, mean_v_D = r_D * zeta_D.sqrt() / scale_D, scale_D
    nodes, weights = gauss_hermite(NODES)
    half_t_QD = torch.asinh(nodes[:, None] / (2 * zeta_D.sqrt()))
    log_weights_QD = (weights[:, None] * (1 - half_t_QD.tanh()) / math.sqrt(2 * math.pi)).log()
    v_QD = mean_v_D * (2 * half_t_QD).exp()
    u_QBD = (x_BD - (beta_D * (v_QD - mean_v_D))[:, None]) / v_QD.sqrt()[:, None]
    log_p_BD = torch.logsumexp(log_weights_QD[:, None] + torch.special.log_ndtr(-u_QBD), 0)
    return log_p_BD.clamp(max=0)


def edgeworth(z: Singles, thresholds_B: Float[Tensor, " B"]) -> Float[Tensor, "B D"]:
    """The same by a series, as a baseline: Φ̄ + φ (γ1 He_2/6 + γ2 He_3/24 + γ1² He_5/72) at x; it can be negative."""
    x_BD = (thresholds_B[:, None].double() - z.mean_D) / z.std_D
    skewness_D, kurtosis_D = z.third_D / z.std_D**3, z.fourth_D / z.std_D**4
    he = [each for each, _ in zip(hermite(x_BD), range(6), strict=False)]
    bracket_BD = skewness_D * he[2] / 6 + kurtosis_D * he[3] / 24 + skewness_D**2 * he[5] / 72
    return torch.special.ndtr(-x_BD) + torch.exp(-(x_BD**2) / 2) / math.sqrt(2 * math.pi) * bracket_BD
