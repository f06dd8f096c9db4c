"""MCC: codes whose relation to the factors is built by hand."""

import numpy as np
import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.correlation_match import block_r2, match_factors

FACTORS = torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
ROTATION = torch.tensor([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])


def test_order_sign_scale_and_offset_do_not_matter():
    codes = torch.stack([-5 * FACTORS[:, 2] + 7, 0.1 * FACTORS[:, 0], FACTORS[:, 1] - 1], dim=1)
    found = match_factors(codes, FACTORS)
    assert found.mcc == pytest.approx(1, abs=1e-6) and found.latent_Z.tolist() == [1, 2, 0]
    np.testing.assert_allclose(found.correlation_Z, [1, 1, -1], atol=1e-6)


def test_a_rotation_lowers_mcc_but_not_the_linear_share():
    found = match_factors(FACTORS @ ROTATION, FACTORS)
    assert found.mcc == pytest.approx((0.8 + 0.8 + 1) / 3, abs=0.02)
    assert found.linear_r2 == pytest.approx(1, abs=1e-6)
    assert block_r2(FACTORS @ ROTATION, FACTORS, ((0, 1), (2,))) == pytest.approx(1, abs=1e-6)
    assert block_r2(FACTORS @ ROTATION, FACTORS, ((0,), (1,), (2,))) < 0.7


def test_noise_matches_by_chance_only_and_a_missing_latent_counts_nothing():
    noise = torch.randn(3000, 3, generator=torch.Generator().manual_seed(9))
    assert match_factors(noise, FACTORS).mcc < 0.1
    found = match_factors(FACTORS[:, :2], FACTORS)
    assert found.mcc == pytest.approx(2 / 3, abs=0.01) and found.latent_Z.tolist() == [0, 1, -1]
    constant = torch.cat([FACTORS[:, :2], torch.ones(3000, 1)], dim=1)
    assert match_factors(constant, FACTORS).mcc == pytest.approx(2 / 3, abs=0.02)


def test_constant_factors_and_too_few_rows_are_refused():
    with pytest.raises(ConfigError, match="constant"):
        match_factors(FACTORS, torch.cat([FACTORS[:, :2], torch.ones(3000, 1)], dim=1))
    with pytest.raises(ConfigError, match="at least 3"):
        match_factors(FACTORS[:2], FACTORS[:2])
