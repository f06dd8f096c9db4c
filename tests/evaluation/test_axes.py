"""Walks along a latent: encoders whose factors are known."""

import pytest
import torch

from bathyscope.evaluation.axes import walk

PLACES = torch.linspace(-0.2, 0.2, 5)
BEGIN = torch.tensor([0.4, 0.5, 0.6])


def as_it_is(factors_NZ: torch.Tensor) -> torch.Tensor:
    return factors_NZ


def test_a_latent_of_one_factor_moves_that_factor_alone():
    found = walk(lambda image: torch.tanh(image.flip(1)), as_it_is, BEGIN, latent=0, distances_K=PLACES)
    assert found.share_of_largest == pytest.approx(1, abs=1e-4) and found.missed < 1e-3
    expected = torch.atanh(torch.tanh(BEGIN[2]) + PLACES)
    torch.testing.assert_close(found.factors_KZ[:, 2], expected, rtol=0, atol=1e-3)


def test_a_mixed_latent_moves_several_factors():
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    found = walk(lambda image: image @ turned, as_it_is, BEGIN, latent=1, distances_K=PLACES)
    assert found.share_of_largest == pytest.approx(float(turned[:, 1].square().max()), abs=1e-3)


def test_a_code_that_no_scene_has_is_reported_as_missed():
    found = walk(lambda image: torch.tanh(image) * 0 + image.mean() * 0, as_it_is, BEGIN, latent=0, distances_K=PLACES)
    assert found.missed == pytest.approx(1, abs=1e-3)
