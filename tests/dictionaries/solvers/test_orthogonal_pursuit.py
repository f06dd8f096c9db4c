"""Orthogonal matching pursuit against the plain path, least squares, scikit-learn and a planted support."""

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels.orthogonal import fit_compiled
from bathyscope.dictionaries.solvers import orthogonal_pursuit as room
from bathyscope.dictionaries.solvers.orthogonal_pursuit import fit_reference, orthogonal_pursuit
from bathyscope.errors import ConfigError

N, D, F, K = 100, 20, 70, 6


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def units(f: int = F, d: int = D, *, seed: int = 1) -> Tensor:
    return torch.nn.functional.normalize(draw(f, d, seed=seed), dim=1)


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("residual_threshold", [0.0, 2.0])
def test_the_compiled_path_equals_the_plain_one(is_signed, residual_threshold):
    given = {"is_signed": is_signed, "residual_threshold": residual_threshold}
    fast, plain = (fit(draw(N, D), units(), 12, **given) for fit in (fit_compiled, fit_reference))
    torch.testing.assert_close(fast.values_NK, plain.values_NK, rtol=1e-6, atol=1e-6)
    assert torch.equal(fast.indices_NK, plain.indices_NK)


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize("is_signed", [False, True])
def test_batched_pursuit_equals_a_loop_over_tokens(is_fast, is_signed, monkeypatch):
    from scipy.optimize import nnls

    monkeypatch.setattr(room, "GRAM_FEATURES", F if is_fast else 0)
    x_ND, rows_FD = draw(N, D), units()
    found_NF = orthogonal_pursuit(x_ND, rows_FD, K, is_signed=is_signed).dense()
    for x_D, found_F in zip(x_ND, found_NF, strict=True):
        support, residual_D, amounts_T = list[int](), x_D, torch.empty(0)
        for _ in range(K):
            inner_F = rows_FD @ residual_D
            support.append(int((inner_F.abs() if is_signed else inner_F).argmax()))
            columns_DT = rows_FD[support].T
            if not is_signed:
                amounts_T = torch.as_tensor(nnls(columns_DT.numpy(), x_D.numpy())[0])
            else:
                amounts_T = torch.linalg.lstsq(columns_DT, x_D[:, None]).solution[:, 0]
            residual_D = x_D - columns_DT @ amounts_T
        wanted_F = torch.zeros(F, dtype=torch.float64)
        wanted_F[support] = amounts_T
        torch.testing.assert_close(found_F, wanted_F, rtol=1e-6, atol=1e-6)


def test_the_codes_are_those_of_scikit_learn():
    from sklearn.linear_model import orthogonal_mp

    x_ND, rows_FD = draw(N, D), units()
    wanted_FN = orthogonal_mp(rows_FD.T.numpy(), x_ND.T.numpy(), n_nonzero_coefs=K)
    torch.testing.assert_close(orthogonal_pursuit(x_ND, rows_FD, K).dense(), torch.as_tensor(wanted_FN).T)


def planted_codes(d: int, f: int, n_active: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    chosen_NK = torch.rand(N, f, generator=generator).topk(n_active, dim=1).indices
    amounts_NK = 1 + torch.rand(N, n_active, generator=generator, dtype=torch.float64)
    return torch.zeros(N, f, dtype=torch.float64).scatter(1, chosen_NK, amounts_NK)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("is_signed", [False, True])
def test_the_planted_support_is_recovered_where_directions_are_almost_orthogonal(dtype, is_signed):
    rows_FD, truth_NF = units(300, 200), planted_codes(200, 300, 5)
    x_ND = (truth_NF @ rows_FD).to(dtype)
    codes_NF = orthogonal_pursuit(x_ND, rows_FD.to(dtype), 5, is_signed=is_signed).dense()
    assert torch.equal(codes_NF != 0, truth_NF != 0)
    torch.testing.assert_close(codes_NF.double(), truth_NF, rtol=1e-4, atol=1e-4)


def test_a_wrong_dictionary_does_not_recover_the_support():
    truth_NF = planted_codes(200, 300, 5)
    codes_NF = orthogonal_pursuit(truth_NF @ units(300, 200), units(300, 200, seed=9), 5).dense()
    assert not ((codes_NF != 0) == (truth_NF != 0)).all(1).any()


def test_residuals_are_orthogonal_to_chosen_rows_and_no_longer_than_those_of_matching_pursuit():
    from bathyscope.dictionaries.solvers.matching_pursuit import matching_pursuit

    x_ND, rows_FD = draw(N, D), units()
    codes = orthogonal_pursuit(x_ND, rows_FD, K)
    residual_ND = x_ND - codes.dense() @ rows_FD
    inner_NK = (rows_FD[codes.indices_NK] @ residual_ND[:, :, None])[:, :, 0]
    assert float(inner_NK.abs().max()) < 1e-10
    greedy_ND = x_ND - matching_pursuit(x_ND, rows_FD, K).dense() @ rows_FD
    assert residual_ND.norm() < greedy_ND.norm()


def test_a_non_negative_fit_fulfils_its_conditions_of_optimality():
    x_ND, rows_FD = draw(N, D), units()
    codes = orthogonal_pursuit(x_ND, rows_FD, 15, is_signed=False)
    assert (codes.values_NK >= 0).all()
    inner_NF = (x_ND - codes.dense() @ rows_FD) @ rows_FD.T
    assert float(inner_NF[codes.dense() > 0].abs().max()) < 1e-6


def test_dependent_rows_end_a_pursuit_instead_of_blowing_it_up():
    rows_FD = torch.cat([units(3), units(3)])  # each direction twice, all in a space of three dimensions
    x_ND = draw(N, 3, seed=5) @ units(3)
    for path in (fit_compiled, fit_reference):
        fit = path(x_ND, rows_FD, 6, is_signed=True, residual_threshold=0.0)
        assert int((fit.values_NK != 0).sum(1).max()) <= 3
        guess_ND = torch.zeros(N, 6, dtype=torch.float64).scatter_add(1, fit.indices_NK, fit.values_NK) @ rows_FD
        torch.testing.assert_close(guess_ND, x_ND)


def test_more_steps_than_dimensions_are_not_taken_and_lengths_of_rows_are_allowed():
    x_ND, rows_FD, length_F = draw(N, 4), units(30, 4), draw(30).exp()
    codes = orthogonal_pursuit(x_ND, rows_FD * length_F[:, None], 30)
    assert codes.values_NK.shape == (N, 4)
    torch.testing.assert_close(codes.dense() @ (rows_FD * length_F[:, None]), x_ND)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_tokens_are_taken(n):
    assert orthogonal_pursuit(draw(n, D), units(), K).dense().shape == (n, F)


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_token_with_a_number_that_is_not_finite_is_not_hidden(is_fast, monkeypatch):
    monkeypatch.setattr(room, "GRAM_FEATURES", F if is_fast else 0)
    x_ND = draw(N, D)
    x_ND[3, 5] = torch.nan
    values_NK = orthogonal_pursuit(x_ND, units(), K).values_NK
    assert (~values_NK.isfinite().all(1)).nonzero().flatten().tolist() == [3]


def test_no_steps_are_refused():
    with pytest.raises(ConfigError, match="n_steps is 0"):
        orthogonal_pursuit(draw(3, D), units(), 0)
