"""Matching pursuit: the fast path, the plain one, and a loop over tokens are one algorithm."""

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels import pursuit
from bathyscope.dictionaries.kernels.pursuit import Limits, Steps, merged, pursue, pursue_reference
from bathyscope.dictionaries.solvers.matching_pursuit import matching_pursuit
from bathyscope.errors import ConfigError

N, D, F, K = 120, 20, 70, 8
LIMITS = [
    Limits(K),
    Limits(K, is_signed=True),
    Limits(3 * K, residual_threshold=1.5),
    Limits(3 * K, is_signed=True, stops_on_duplicate=True),
]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def units(f: int = F, d: int = D, *, seed: int = 1) -> Tensor:
    return torch.nn.functional.normalize(draw(f, d, seed=seed), dim=1)


def by_hand(x_D: Tensor, atoms_FD: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Codes and residual of one token, as METHODS writes it down."""
    codes_F, residual_D, taken = torch.zeros(len(atoms_FD), dtype=x_D.dtype), x_D.clone(), set[int]()
    for _ in range(limits.n_steps):
        inner_F = atoms_FD @ residual_D
        j = int((inner_F.abs() if limits.is_signed else inner_F).argmax())
        value = float(inner_F[j])
        if value == 0 or (value < 0 and not limits.is_signed):
            break
        codes_F[j] += value
        residual_D = residual_D - value * atoms_FD[j]
        if float(residual_D.norm()) < limits.residual_threshold or (limits.stops_on_duplicate and j in taken):
            break
        taken.add(j)
    return codes_F, residual_D


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("is_fast", [True, False])
def test_batched_pursuit_equals_a_loop_over_tokens(limits, is_fast, monkeypatch):
    monkeypatch.setattr(pursuit, "GRAM_FEATURES", F if is_fast else 0)
    x_ND, atoms_FD = draw(N, D), units()
    steps = pursue(x_ND, atoms_FD, limits)
    codes_NF = torch.zeros(N, F, dtype=x_ND.dtype).scatter_add(1, steps.indices_NK, steps.values_NK)
    wanted = [by_hand(x_D, atoms_FD, limits) for x_D in x_ND]
    torch.testing.assert_close(codes_NF, torch.stack([codes_F for codes_F, _ in wanted]))
    torch.testing.assert_close(steps.residual_ND, torch.stack([residual_D for _, residual_D in wanted]))
    n_steps_N = (steps.values_NK != 0).sum(1)
    assert n_steps_N.min() < n_steps_N.max() or limits.n_steps == K, "the case is worth testing"


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("length", [1.0, 0.8])
def test_gradients_of_the_fast_path_are_those_of_the_plain_one(limits, length):
    found = []
    for path in (pursue, pursue_reference):
        x_ND, atoms_FD = draw(N, D).requires_grad_(), (length * units()).requires_grad_()
        steps = path(x_ND, atoms_FD, limits)
        (steps.values_NK * draw(*steps.values_NK.shape, seed=2)).sum().add((steps.residual_ND**3).sum()).backward()
        found.append((*(t.detach() for t in steps), x_ND.grad, atoms_FD.grad))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain)


def test_the_fast_path_is_the_one_that_many_tokens_take(monkeypatch):
    monkeypatch.setattr(pursuit, "pursue_reference", lambda *_: pytest.fail("the plain path was taken"))
    pursue(draw(N, D), units(), LIMITS[0])


def test_single_precision_finds_the_same_atoms():
    x_ND, atoms_FD = draw(500, 64), units(300, 64)
    wide, narrow = pursue(x_ND, atoms_FD, Limits(6)), pursue(x_ND.float(), atoms_FD.float(), Limits(6))
    assert float((wide.indices_NK == narrow.indices_NK).all(1).double().mean()) > 0.99
    torch.testing.assert_close(
        narrow.residual_ND.norm(dim=1).double(), wide.residual_ND.norm(dim=1), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("is_signed", [True, False])
def test_the_residual_never_grows(is_signed):
    x_ND, atoms_FD = draw(N, D), units()
    lengths = [pursue(x_ND, atoms_FD, Limits(k, is_signed=is_signed)).residual_ND.norm(dim=1) for k in (1, 2, 4, 8, 30)]
    for before_N, after_N in zip([x_ND.norm(dim=1), *lengths], lengths, strict=False):
        assert (after_N <= before_N + 1e-12).all()
    assert (lengths[-1] < 0.5 * lengths[0]).all()


def test_an_atom_taken_twice_is_one_active_feature():
    atoms_FD = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
    steps = pursue_reference(torch.tensor([[0.2, 1.0]], dtype=torch.float64), atoms_FD, Limits(4, is_signed=True))
    assert steps.indices_NK.tolist() == [[1, 0, 1, 0]]
    values_NK, indices_NK = merged(steps)
    assert indices_NK.tolist() == [[1, 0, 0, 0]] and (values_NK != 0).sum() == 2
    torch.testing.assert_close(values_NK[0, 0], steps.values_NK[0, 0] + steps.values_NK[0, 2])


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_token_with_a_number_that_is_not_finite_is_not_hidden(is_fast, monkeypatch):
    monkeypatch.setattr(pursuit, "GRAM_FEATURES", F if is_fast else 0)
    x_ND = draw(N, D)
    x_ND[3, 5], x_ND[4, 0] = torch.nan, torch.inf
    steps = pursue(x_ND, units(), Limits(K))
    bad_N = ~steps.values_NK.isfinite().all(1) | ~steps.residual_ND.isfinite().all(1)
    assert bad_N.nonzero().flatten().tolist() == [3, 4]


@pytest.mark.parametrize("n", [0, 1])
def test_few_tokens_are_taken(n):
    steps = pursue(draw(n, D), units(), Limits(K))
    assert steps.values_NK.shape == (n, K) and isinstance(steps, Steps)


def test_zero_has_no_codes_and_a_row_of_zeros_is_never_taken():
    rows_FD = units()
    rows_FD[7] = 0
    assert matching_pursuit(torch.zeros(N, D, dtype=torch.float64), rows_FD, K).l0() == 0
    assert matching_pursuit(draw(N, D), rows_FD, 40).fires()[7] == 0


def test_the_lengths_of_rows_change_codes_but_neither_choice_nor_reconstruction():
    x_ND, rows_FD, length_F = draw(N, D), units(), draw(F).exp()
    plain, scaled = matching_pursuit(x_ND, rows_FD, K), matching_pursuit(x_ND, rows_FD * length_F[:, None], K)
    torch.testing.assert_close(scaled.dense() * length_F, plain.dense())


def test_non_negative_codes_are_not_negative_and_signed_ones_explain_more():
    x_ND, rows_FD = draw(N, D), units()
    kept, signed = matching_pursuit(x_ND, rows_FD, K, is_signed=False), matching_pursuit(x_ND, rows_FD, K)
    assert (kept.values_NK >= 0).all() and (signed.values_NK < 0).any()
    assert (x_ND - signed.dense() @ rows_FD).norm() < (x_ND - kept.dense() @ rows_FD).norm()


def test_a_residual_threshold_ends_a_token_after_the_first_step_that_reaches_it():
    x_ND, rows_FD = draw(N, D), units()
    codes = matching_pursuit(x_ND, rows_FD, 60, residual_threshold=1.0)
    assert ((x_ND - codes.dense() @ rows_FD).norm(dim=1) < 1.0).all()
    assert codes.l0() < 15


@pytest.mark.parametrize("f", [1, 63, 64, 65, 200])
def test_the_gram_matrix_is_that_of_all_rows(f):
    rows_FD = draw(f, 12)
    torch.testing.assert_close(pursuit.gram(rows_FD), rows_FD @ rows_FD.T)


@pytest.mark.parametrize("given", [{"n_steps": 0}, {"n_steps": 2, "residual_threshold": float("nan")}])
def test_impossible_limits_are_refused(given):
    with pytest.raises(ConfigError, match=r"n_steps is 0|residual_threshold is nan"):
        matching_pursuit(draw(3, D), units(), **given)
