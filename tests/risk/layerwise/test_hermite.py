"""Hermite coefficients against closed forms, quadrature and derivatives."""

import itertools
import math

import pytest
import torch

from bathyscope.risk.layerwise.hermite import by_quadrature, coefficients, hermite

MEAN_D = torch.tensor([0.0, 0.7, -1.1], dtype=torch.float64)
STD_D = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)


def test_hermite_polynomials_are_the_probabilists_ones():
    x = torch.tensor([0.5, -2.0], dtype=torch.float64)
    found = list(itertools.islice(hermite(x), 4))
    torch.testing.assert_close(torch.stack(found), torch.stack([x**0, x, x**2 - 1, x**3 - 3 * x]))


def test_the_mean_of_relu_is_the_closed_form():
    """E relu(Z) = m Φ(m/s) + s φ(m/s), its slope Φ(m/s), its bend φ(m/s)/s."""
    c_PD = coefficients("relu", 1, MEAN_D, STD_D, n=3)
    tau_D = MEAN_D / STD_D
    density_D = torch.exp(-(tau_D**2) / 2) / math.sqrt(2 * math.pi)
    slope_D = torch.special.ndtr(tau_D)
    expected = torch.stack([MEAN_D * slope_D + STD_D * density_D, slope_D, density_D / STD_D])
    torch.testing.assert_close(c_PD, expected)


@pytest.mark.parametrize("power", [1, 2, 3, 4])
def test_powers_of_relu_agree_with_a_fine_sum(power):
    z_GD = MEAN_D + STD_D * torch.linspace(-9, 9, 200_001, dtype=torch.float64)[:, None]
    weights_GD = torch.exp(-(((z_GD - MEAN_D) / STD_D) ** 2) / 2) * 18 / 200_000 / math.sqrt(2 * math.pi)
    expected_D = (z_GD.relu() ** power * weights_GD).sum(0)
    torch.testing.assert_close(coefficients("relu", power, MEAN_D, STD_D, n=1)[0], expected_D, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("power", [1, 3])
def test_each_coefficient_is_the_derivative_of_the_one_before_with_respect_to_the_mean(activation, power):
    """d/dm E F(m + s Z) = E F'(m + s Z)."""
    step = 1e-5
    above, below = (coefficients(activation, power, MEAN_D + sign * step, STD_D, n=6) for sign in (1, -1))
    here = coefficients(activation, power, MEAN_D, STD_D, n=7)
    torch.testing.assert_close((above - below) / (2 * step), here[1:], rtol=1e-5, atol=1e-7)


def test_quadrature_is_exact_for_the_identity():
    c_PD = by_quadrature("identity", 2, MEAN_D, STD_D, n=4)
    expected = torch.stack([MEAN_D**2 + STD_D**2, 2 * MEAN_D, torch.full_like(MEAN_D, 2), torch.zeros_like(MEAN_D)])
    torch.testing.assert_close(c_PD, expected, atol=1e-9, rtol=1e-9)
