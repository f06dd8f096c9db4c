"""FISTA: conditions of optimality, least squares at λ = 0, scikit-learn, and an objective that never rises."""

import logging

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.solvers import fista as room
from bathyscope.dictionaries.solvers.fista import Fista, advance, begin, fista, largest_eigenvalue
from bathyscope.errors import ConfigError

N, D, F = 24, 20, 60
EXACT = {"n_steps": 5_000, "tolerance": 1e-7}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def units(f: int = F, d: int = D, *, seed: int = 1) -> Tensor:
    return torch.nn.functional.normalize(draw(f, d, seed=seed), dim=1)


@pytest.mark.parametrize("is_signed", [False, True])
def test_no_objective_ever_rises(is_signed):
    x_ND, rows_FD, l1 = draw(N, D), units(), 0.2
    lipschitz, state = largest_eigenvalue(rows_FD), begin(x_ND, units(), l1, torch.zeros(N, F, dtype=torch.float64))
    n_restarts = 0
    for _ in range(300):
        after = advance(state, x_ND, rows_FD, l1, lipschitz, is_signed=is_signed)
        guess_ND = after.codes_NF @ rows_FD
        exact_N = room.objective(x_ND, after.codes_NF, guess_ND, l1)
        assert (exact_N <= state.objective_N * (1 + 1e-14)).all()
        torch.testing.assert_close(after.guess_ND, guess_ND)
        torch.testing.assert_close(after.ahead_guess_ND, after.ahead_NF @ rows_FD)
        n_restarts += int(((after.momentum_N == 1) & (state.momentum_N > 1)).sum())
        state = after
    assert n_restarts > N, "momentum carried tokens too far now and then, and was taken back"


@pytest.mark.parametrize("is_signed", [False, True])
def test_the_conditions_of_optimality_hold_within_the_tolerance(is_signed):
    x_ND, rows_FD, l1, tolerance = draw(N, D), units(), 0.2, 1e-4
    codes_NF = fista(x_ND, rows_FD, l1, is_signed=is_signed, n_steps=5_000, tolerance=tolerance).dense()
    slope_NF = (x_ND - codes_NF @ rows_FD) @ rows_FD.T
    limit_N1 = 2 * tolerance * (x_ND @ rows_FD.T).abs().amax(1, keepdim=True)
    is_active_NF = codes_NF != 0
    assert ((slope_NF - l1 * codes_NF.sign()).abs() <= limit_N1)[is_active_NF].all()
    idle_NF = slope_NF.abs() if is_signed else slope_NF
    assert (idle_NF <= l1 + limit_N1)[~is_active_NF].all()
    assert 0 < int(is_active_NF.sum()) < N * F / 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_a_penalty_and_with_few_rows_it_is_least_squares(dtype):
    x_ND, rows_FD = draw(N, D), units(8)
    wanted_NF = torch.linalg.lstsq(rows_FD.T, x_ND.T).solution.T
    given = EXACT if dtype == torch.float64 else {"n_steps": 2000, "tolerance": 1e-6}
    found_NF = fista(x_ND.to(dtype), rows_FD.to(dtype), 0.0, is_signed=True, **given).dense().double()
    torch.testing.assert_close(found_NF, wanted_NF, rtol=1e-4, atol=1e-5)


def test_non_negative_codes_are_not_negative_and_are_those_of_least_squares_under_that_bound():
    from scipy.optimize import nnls

    x_ND, rows_FD = draw(N, D), units(8)
    codes_NF = fista(x_ND, rows_FD, 0.0, is_signed=False, **EXACT).dense()
    wanted_NF = torch.stack([torch.as_tensor(nnls(rows_FD.T.numpy(), x_D.numpy())[0]) for x_D in x_ND])
    assert (codes_NF >= 0).all() and (codes_NF == 0).any()
    torch.testing.assert_close(codes_NF, wanted_NF, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_signed", [False, True])
def test_the_codes_are_those_of_scikit_learn(is_signed):
    from sklearn.decomposition import sparse_encode

    x_ND, rows_FD, l1 = draw(N, D), units(), 0.3
    settings = {"algorithm": "lasso_cd", "alpha": l1, "positive": not is_signed, "max_iter": 50_000}
    wanted_NF = torch.as_tensor(sparse_encode(x_ND.numpy(), rows_FD.numpy(), **settings))
    found_NF = fista(x_ND, rows_FD, l1, is_signed=is_signed, **EXACT).dense()
    objectives = [room.objective(x_ND, codes_NF, codes_NF @ rows_FD, l1).sum() for codes_NF in (found_NF, wanted_NF)]
    assert float(objectives[0]) <= float(objectives[1]) * (1 + 1e-9)
    torch.testing.assert_close(found_NF, wanted_NF, rtol=1e-3, atol=1e-3)


def test_the_bound_on_the_step_is_tight_and_never_too_low():
    rows_FD = units(300, 40)
    rows_FD[:150] = torch.nn.functional.normalize(rows_FD[:150] + 2 * rows_FD[:1], dim=1)
    for some_FD in (rows_FD, rows_FD[:7], units(1), 3 * rows_FD, torch.eye(30, dtype=torch.float64)):
        exact = float(torch.linalg.eigvalsh(some_FD @ some_FD.T).max())
        assert exact * (1 - 1e-9) <= largest_eigenvalue(some_FD) <= 1.03 * exact


def test_batched_equals_one_token_at_a_time(monkeypatch):
    x_ND, rows_FD = draw(N, D), units()
    together_NF = fista(x_ND, rows_FD, 0.2, **EXACT).dense()
    alone_NF = torch.cat([fista(x_ND[n : n + 1], rows_FD, 0.2, **EXACT).dense() for n in range(5)])
    monkeypatch.setattr(room, "CHUNK_BYTES", 4 * F * 7)
    sliced_NF = fista(x_ND, rows_FD, 0.2, **EXACT).dense()
    torch.testing.assert_close(alone_NF, together_NF[:5], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sliced_NF, together_NF, rtol=1e-5, atol=1e-5)


def test_a_larger_penalty_leaves_fewer_features_and_a_start_changes_nothing():
    x_ND, rows_FD = draw(N, D), units()
    few, many = fista(x_ND, rows_FD, 0.8, **EXACT), fista(x_ND, rows_FD, 0.2, **EXACT)
    assert few.l0() < many.l0()
    again = fista(x_ND, rows_FD, 0.8, start_NF=many.dense(), **EXACT)
    torch.testing.assert_close(again.dense(), few.dense(), rtol=1e-4, atol=1e-5)


def test_tokens_that_are_not_done_are_logged(caplog):
    with caplog.at_level(logging.INFO):
        fista(draw(N, D), units(), 0.1, n_steps=2)
    assert f"{N} of {N} tokens are not within tolerance after 2 steps" in caplog.text


def test_zero_no_tokens_and_numbers_that_are_not_finite():
    assert fista(torch.zeros(3, D), units().float(), 0.1).l0() == 0
    assert fista(draw(0, D), units(), 0.1).dense().shape == (0, F)
    x_ND = draw(N, D)
    x_ND[2, 0] = torch.nan
    codes_NF = fista(x_ND, units(), 0.1).dense()
    assert (~codes_NF.isfinite().all(1)).nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize("given", [{"l1": -1.0}, {"l1": 1.0, "n_steps": 0}, {"l1": 1.0, "tolerance": -1.0}])
def test_impossible_settings_are_refused(given):
    with pytest.raises(ConfigError, match=r"l1 is -1|n_steps is"):
        Fista(**given)
