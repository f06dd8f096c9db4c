"""p-annealing beyond the contract: the penalty, its updates, and that they are state which resuming keeps."""

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor

from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.p_anneal import ETA, PAnneal, PAnnealTrainee, penalty_of
from bathyscope.errors import ConfigError

D, F = 16, 40


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X_ND = draw(60, D, seed=1)


def trainee(**settings: float) -> PAnnealTrainee:
    found = PAnneal(n_features=F, **settings).build(D, generator=torch.Generator().manual_seed(0)).double()  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        found.b_enc_F += 0.3 * draw(F, seed=2)
        found.b_dec_D += 0.2
    return found


def gradients(outcome: Tensor, module: PAnnealTrainee) -> dict[str, Tensor]:
    module.zero_grad(set_to_none=True)
    outcome.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def at_stage(found: PAnnealTrainee, stage: int) -> PAnnealTrainee:
    found.annealing.stage.fill_(stage)
    return found


@pytest.mark.parametrize(("stage", "p"), [(0, 1.0), (5, 0.6), (10, 0.2)])
def test_the_loss_is_the_papers_formula_at_the_p_of_its_stage(stage, p):
    found = at_stage(trainee(l1=3.0), stage)
    codes_NF = ((X_ND - found.b_dec_D) @ found.W_enc_FD.T + found.b_enc_F).relu()
    error = (X_ND - codes_NF @ found.W_dec_FD - found.b_dec_D).square().sum(1).mean()
    penalty = ((codes_NF + ETA) ** p - ETA**p).sum(1).mean()
    assert float(found.loss(X_ND).total.detach()) == pytest.approx(float((error + 3 * penalty).detach()), rel=1e-6)


def test_codes_of_zero_have_no_gradient_though_the_slope_there_is_steep():
    codes = torch.tensor([[0.0, -1.0, 1e-9, 2.0]], dtype=torch.float64, requires_grad=True)
    penalty_of(codes, torch.tensor(0.2)).backward()
    assert codes.grad is not None and codes.grad.isfinite().all()
    slopes = codes.grad[0].tolist()
    assert slopes[:2] == [0, 0]
    assert slopes[2] == pytest.approx(0.2 * ETA**-0.8, rel=1e-4) and 0 < slopes[3] < 0.2


def test_lambda_times_the_penalty_does_not_jump_when_p_moves():
    found = trainee(l1=3.0, n_updates=4)
    for progress in (0.05, 0.1, 0.15):
        found.after_step(found.loss(X_ND, progress=progress))
    before = float(found.loss(X_ND, progress=0.19).parts["sparsity"])
    assert int(found.annealing.stage) == 0
    found.after_step(found.loss(X_ND, progress=0.21))
    assert int(found.annealing.stage) == 1 and float(found.annealing.power()) == pytest.approx(0.8)
    assert float(found.loss(X_ND, progress=0.21).parts["sparsity"]) == pytest.approx(before, rel=1e-5)
    assert float(found.annealing.log_factor) != 0


def test_the_new_weight_comes_from_the_mean_of_the_last_ten_penalties():
    found = trainee(n_updates=4)
    penalties = []
    for step in range(14):
        x_ND = draw(30, D, seed=50 + step)
        loss = found.loss(x_ND, progress=0.19 if step < 13 else 0.21)
        penalties.append((float(loss.seen["penalty"]), float(loss.seen["next_penalty"])))
        found.after_step(loss)
    now, after = torch.tensor(penalties[-10:], dtype=torch.float64).sum(0)
    assert float(found.annealing.log_factor) == pytest.approx(float((now / after).log()), rel=1e-4)


def test_p_falls_in_equal_steps_between_its_two_shares_of_the_run():
    found = trainee(n_updates=4, p_end=0.2)
    powers = {}
    for step in range(100):
        progress = (step + 0.5) / 100
        found.after_step(found.loss(X_ND[:8], progress=progress))
        powers[step] = round(float(found.annealing.power()), 6)
    assert powers[19] == 1.0 and powers[20] == 0.8 and powers[34] == 0.8 and powers[35] == 0.6
    assert powers[64] == 0.4 and powers[65] == powers[99] == 0.2


def test_all_that_annealing_knows_is_saved_and_stays_exact_when_the_module_is_cast():
    found = trainee().float()
    names = {name for name in found.state_dict() if name.startswith("annealing.")}
    assert names == {f"annealing.{name}" for name in ("stage", "log_factor", "recent_Q2", "n_recent")}
    found.annealing.log_factor.fill_(1.0001)
    found.to(torch.bfloat16)
    assert float(found.annealing.log_factor) == pytest.approx(1.0001, abs=1e-6)
    assert found.annealing.stage.dtype == torch.int64


def test_pairs_give_the_values_and_gradients_of_the_dense_definition():
    found = at_stage(trainee(l1=2.0), 6)
    outcomes = []
    for n_pairs in (0.0, torch.inf):
        found.density.n_pairs.fill_(n_pairs)
        loss = found.loss(X_ND)
        outcomes.append((loss, gradients(loss.total, found)))
    (sparse, slopes), (dense, wanted) = outcomes
    torch.testing.assert_close(sparse.total, dense.total)
    assert torch.equal(sparse.fires_F, dense.fires_F)
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, wanted[name], msg=lambda line, name=name: f"{name}: {line}")


def test_annealing_gives_back_some_of_what_the_l1_penalty_takes_from_large_codes():
    planted = world(n_true=64, d_model=32, n_tokens=8000)
    explained = {}
    for p_end in (0.2, 1.0):
        kind = PAnneal(n_features=64, l0=4, p_end=p_end)
        member = Member(kind, d_model=32, optimisation=kind.optimisation(32), seed=0)
        member.start(planted.x_ND)
        for step in range(320):
            member.step(planted.batches(250)[step % 32], progress=(step + 0.5) / 320)
        dictionary = member.fold()
        error = (planted.x_ND - dictionary.reconstruct(planted.x_ND)).square().sum()
        explained[p_end] = 1 - float(error / (planted.x_ND - planted.x_ND.mean(0)).square().sum())
        assert dictionary.encode(planted.x_ND).l0() == pytest.approx(4, rel=0.15)
    assert explained[0.2] > explained[1.0] + 0.01


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"l1": -1.0}, "l1 is -1.0"),
        ({"l0": 5000}, "l0 is 5000"),
        ({"l1_warm_up": 2.0}, "l1_warm_up is 2.0"),
        ({"p_end": 0.0}, "p_end is 0.0"),
        ({"n_updates": 0}, "n_updates is 0"),
        ({"anneal_from": 0.9}, "anneal_from is 0.9 and anneal_to is 0.8"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        PAnneal(**settings)
