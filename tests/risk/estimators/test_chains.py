import math

import pytest
import torch

from bathyscope.risk.estimators.chains import r_hat


def test_r_hat_is_one_for_chains_that_agree_and_large_for_chains_that_do_not():
    x_TC = torch.randn(500, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert r_hat(x_TC) == pytest.approx(1, abs=0.01)
    assert r_hat(x_TC + torch.arange(8)) > 1.5
    assert r_hat(torch.ones(5, 2) * torch.tensor([0.0, 1.0])) == math.inf
    assert r_hat(torch.zeros(5, 2)) == 1
