"""Amounts fitted again on given features."""

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.solvers import least_squares
from bathyscope.dictionaries.solvers.least_squares import refit

N, D, F, K = 50, 20, 60, 5


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def codes() -> Codes:
    indices_NK = torch.rand(N, F, generator=torch.Generator().manual_seed(2)).topk(K, dim=1).indices
    values_NK = draw(N, K, seed=3)
    values_NK[:, 4], indices_NK[:, 4] = 0, 0  # padding
    return Codes(values_NK, indices_NK, F)


def test_the_amounts_are_those_of_least_squares_on_active_features_alone(monkeypatch):
    monkeypatch.setattr(least_squares, "CHUNK_BYTES", 4 * K * D * 7)
    x_ND, rows_FD, given = draw(N, D), draw(F, D, seed=1), codes()
    found_NF = refit(x_ND, rows_FD, given).dense()
    for n in range(N):
        support = given.indices_NK[n, :4]
        wanted = torch.linalg.lstsq(rows_FD[support].T, x_ND[n, :, None]).solution[:, 0]
        torch.testing.assert_close(found_NF[n, support], wanted)
    assert torch.equal(found_NF != 0, given.dense() != 0)


def test_amounts_are_kept_from_being_negative():
    from scipy.optimize import nnls

    x_ND, rows_FD, given = draw(N, D), draw(F, D, seed=1), codes()
    found_NF = refit(x_ND, rows_FD, given, is_signed=False).dense()
    for n in range(N):
        support = given.indices_NK[n, :4]
        wanted = torch.as_tensor(nnls(rows_FD[support].T.numpy(), x_ND[n].numpy())[0])
        torch.testing.assert_close(found_NF[n, support], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n", [0, 1])
def test_few_tokens_are_taken(n):
    given = Codes(torch.ones(n, K), torch.zeros(n, K, dtype=torch.int64), F)
    assert refit(torch.ones(n, D), torch.ones(F, D), given).dense().shape == (n, F)
