"""JumpReLU beyond the contract: straight-through gradients, the L0 target, thresholds, dead features, both paths."""

import dataclasses

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor

from bathyscope.dictionaries.jumprelu import JumpReLU, JumpReLUTrainee
from bathyscope.dictionaries.kernels.jump import at_features, jump
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.rules import Above, Positive
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

D, F, WIDTH = 16, 40, 0.5
FIXED = {"l0": None, "weight": 0.3}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X_ND = draw(60, D, seed=1)


def trainee(**settings: object) -> JumpReLUTrainee:
    given = {"n_features": F, "l0": 5, "bandwidth": WIDTH, "dead_after_tokens": 100, **settings}
    found = JumpReLU(**given).build(D, generator=torch.Generator().manual_seed(0)).double()  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        found.b_enc_F += 0.1 * draw(F, seed=2)
        found.b_dec_D += 0.2
        found.threshold_F.copy_(torch.linspace(0, 2, F, dtype=torch.float64))
    return found


def gradients(outcome: Tensor, module: JumpReLUTrainee) -> dict[str, Tensor]:
    module.zero_grad(set_to_none=True)
    outcome.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("to_inputs", [False, True])
def test_straight_through_gradients_are_the_stated_ones_on_both_sides_of_the_threshold(to_inputs):
    pre = torch.tensor([[0.70, 0.90, 1.10, 1.40, -3.0]], dtype=torch.float64, requires_grad=True)
    theta = torch.full((5,), 1.0, dtype=torch.float64, requires_grad=True)
    codes, steps = jump(pre, theta, bandwidth=WIDTH, to_inputs=to_inputs)
    assert codes.tolist() == [[0, 0, 1.10, 1.40, 0]] and steps.tolist() == [[0, 0, 1, 1, 0]]
    to_codes, to_steps = torch.tensor([[2.0, 3.0, 5.0, 7.0, 11.0]]).double(), torch.tensor([[0.1] * 5]).double()
    (codes * to_codes + steps * to_steps).sum().backward()
    kernel = torch.tensor([0.0, 1, 1, 0, 0]).double()
    through = kernel * (1.0 * to_codes + to_steps)[0] / WIDTH
    torch.testing.assert_close(theta.grad, -through)
    above = torch.tensor([0.0, 0, 1, 1, 0]).double() * to_codes[0]
    torch.testing.assert_close(pre.grad, (above + through * to_inputs)[None])


def test_the_gradient_of_l0_is_the_slope_of_a_smoothed_l0_with_the_same_sign():
    pre = draw(4000, 1).requires_grad_()
    theta = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    jump(pre, theta, bandwidth=0.2, to_inputs=False).steps.mean().backward()
    step = 0.1
    n_above = [float((pre.detach() > 0.4 + s * step).double().mean()) for s in (1, -1)]
    assert theta.grad is not None
    assert float(theta.grad) == pytest.approx((n_above[0] - n_above[1]) / (2 * step)) and float(theta.grad) < 0


def test_l0_reaches_the_threshold_of_features_that_are_below_it_and_have_no_code():
    found = trainee(**FIXED, sparsity="l0", revive=0.0)
    with torch.no_grad():
        found.W_enc_FD.zero_()
        found.b_enc_F.copy_(found.threshold_F - WIDTH / 4)
    assert int(found.loss(X_ND).fires_F.sum()) == 0
    slope_F = gradients(found._sparsity(found.dense(X_ND), torch.tensor(1.0)), found)["threshold_F"]
    torch.testing.assert_close(slope_F, torch.full((F,), -0.3 / WIDTH, dtype=torch.float64))


def by_hand(found: JumpReLUTrainee) -> tuple[Tensor, Tensor]:
    pre_NF = (X_ND - found.b_dec_D) @ found.W_enc_FD.T + found.b_enc_F
    return pre_NF, (pre_NF > found.threshold_F).double()


def test_each_form_of_the_loss_is_its_formula():
    for sparsity in ("target", "target-per-token", "l0", "tanh"):
        found = trainee(sparsity=sparsity, **({} if "target" in sparsity else FIXED))
        found.silence.tokens_F[:9] = 10**6
        found.control.integral.fill_(0.25)
        pre_NF, steps_NF = by_hand(found)
        codes_NF, ratio_N = pre_NF * steps_NF, steps_NF.sum(1) / 5
        residual_ND = X_ND - codes_NF @ found.W_dec_FD - found.b_dec_D
        is_dead_F = (torch.arange(F) < 9) & (steps_NF.sum(0) == 0)
        price = 0.25 * (ratio_N.mean() - 1)
        wanted = {
            "target": (ratio_N.mean() - 1) ** 2 + price,
            "target-per-token": (ratio_N - 1).square().mean() + price,
            "l0": 0.3 * steps_NF.sum(1).mean(),
            "tanh": 0.3 * (4 * codes_NF).tanh().sum(1).mean(),
        }[sparsity]
        wanted = wanted + residual_ND.square().sum() / (X_ND - X_ND.mean(0)).square().sum()
        wanted = wanted + 1e-2 * ((found.threshold_F - pre_NF).relu() * is_dead_F).sum(1).mean()
        assert float(found.loss(X_ND).total.detach()) == pytest.approx(float(wanted.detach())), sparsity


def test_the_threshold_gradient_of_the_whole_loss_is_the_stated_formula():
    found = trainee(**FIXED, sparsity="l0", revive=0.0)
    pre_NF, steps_NF = by_hand(found)
    codes_NF = (pre_NF * steps_NF).detach().requires_grad_()
    residual_ND = X_ND - codes_NF @ found.W_dec_FD.detach() - found.b_dec_D.detach()
    error = residual_ND.square().sum() / (X_ND - X_ND.mean(0)).square().sum()
    (to_codes,) = torch.autograd.grad(error, [codes_NF])
    kernel_NF = ((pre_NF - found.threshold_F).abs() < WIDTH / 2).double()
    wanted_F = -(kernel_NF * (found.threshold_F * to_codes + 0.3 / len(X_ND)) / WIDTH).sum(0)
    below_NF = kernel_NF * (1 - steps_NF)
    assert below_NF.sum() > 20 and (kernel_NF * steps_NF).sum() > 20
    torch.testing.assert_close(gradients(found.loss(X_ND).total, found)["threshold_F"], wanted_F.detach())


@pytest.mark.parametrize("sparsity", ["target", "target-per-token", "l0", "tanh"])
@pytest.mark.parametrize("ste_to_inputs", [False, True])
def test_pairs_give_the_values_and_gradients_of_the_dense_definition(sparsity, ste_to_inputs):
    settings = {} if "target" in sparsity else FIXED
    found = trainee(sparsity=sparsity, ste_to_inputs=ste_to_inputs, **settings)
    assert float(found.threshold_F.detach().min()) < WIDTH / 2, "some windows reach below 0, where padding lies"
    found.silence.tokens_F[:9] = 10**6
    outcomes = []
    for n_pairs in (0.0, torch.inf):
        found.density.n_pairs.fill_(n_pairs)
        assert found.density.is_sparse(X_ND) == (n_pairs == 0)
        loss = found.loss(X_ND)
        outcomes.append((loss, gradients(loss.total, found)))
    (sparse, slopes), (dense, wanted) = outcomes
    torch.testing.assert_close(sparse.total, dense.total)
    assert torch.equal(sparse.fires_F, dense.fires_F) and sparse.seen["density"] == dense.seen["density"]
    assert set(slopes) == set(wanted) == {name for name, _ in found.named_parameters()}
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, wanted[name], msg=lambda line, name=name: f"{name}: {line}")


def test_indexing_has_the_gradient_of_autograd():
    of_F, indices_NK = draw(F), torch.randint(0, F, (30, 4), generator=torch.Generator().manual_seed(0))
    slopes = []
    for at in (at_features, lambda values, indices: values[indices]):
        leaf_F = of_F.clone().requires_grad_()
        (at(leaf_F, indices_NK) * draw(30, 4, seed=3)).sum().backward()
        slopes.append(leaf_F.grad)
    torch.testing.assert_close(*slopes)


def test_a_dense_batch_is_not_computed_from_pairs_and_the_next_ones_follow_the_last():
    found = trainee()
    assert not found.density.is_sparse(X_ND), "nothing is known yet"
    found.threshold_F.data.fill_(0)
    found.after_step(found.loss(X_ND))
    assert not found.density.is_sparse(X_ND)
    found.threshold_F.data.fill_(3)
    found.after_step(found.loss(X_ND))
    assert found.density.is_sparse(X_ND)


@pytest.mark.parametrize("l0", [2, 4, 8])
def test_a_short_run_ends_within_a_tenth_of_the_target_on_held_out_tokens(l0):
    planted = world(n_true=64, d_model=32, n_tokens=24_000, p_active=0.05)
    batches = list(planted.x_ND[:20_000].split(250))
    dictionary = train(batches, JumpReLU(n_features=64, l0=l0), settings=TrainSettings(epochs=5))
    assert dictionary.encode(planted.x_ND[20_000:]).l0() == pytest.approx(l0, rel=0.1)


def test_the_price_moves_with_the_distance_from_the_target_and_is_kept_in_a_buffer():
    found = trainee(l0=2)
    found.threshold_F.data.fill_(0)
    loss = found.loss(X_ND, progress=0.5)
    assert loss.seen["l0"] > 2
    before = float(found.control.integral)
    for _ in range(3):
        found.after_step(found.loss(X_ND, progress=0.51))
    assert float(found.control.integral) > before
    assert "control.integral" in found.state_dict()


def test_all_thresholds_move_towards_the_target_by_a_part_of_a_newton_step():
    found = trainee()
    loss = found.loss(X_ND)
    before_F = found.threshold_F.detach().clone()
    pre_NF, steps_NF = by_hand(found)
    n_near = float((pre_NF > before_F - WIDTH / 2).double().sum()) / len(X_ND)
    l0 = float(steps_NF.sum()) / len(X_ND)
    found.after_step(loss)
    newton = (l0 - 5) / ((n_near - l0) / (WIDTH / 2))
    most = 0.1 * WIDTH / 2
    wanted_F = (before_F + min(max(0.1 * newton, -most), most)).clamp(min=0)
    torch.testing.assert_close(found.threshold_F.detach(), wanted_F, rtol=1e-6, atol=1e-6)


def test_the_threshold_is_applied_once():
    found = trainee()
    pre_NF, steps_NF = by_hand(found)
    torch.testing.assert_close(found.encode(X_ND).dense(), pre_NF * steps_NF)


def test_what_equals_its_threshold_is_not_active():
    found = trainee()
    with torch.no_grad():
        found.W_enc_FD.zero_()
        found.b_enc_F.copy_(found.threshold_F)
    assert found.encode(X_ND).l0() == 0 and int(found.loss(X_ND).fires_F.sum()) == 0


def test_thresholds_are_never_negative_after_a_step_and_leave_0_again():
    found = trainee()
    found.threshold_F.data.fill_(-1)
    loss = found.loss(X_ND)
    found.after_step(loss)
    assert float(found.threshold_F.detach().min()) == 0
    slope_F = gradients(found.loss(X_ND).total, found)["threshold_F"]
    assert (slope_F != 0).any(), "the clamp is not in the graph: a threshold of 0 still has a gradient"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_thresholds_and_control_stay_float32_when_the_module_is_cast(dtype):
    found = trainee().float()
    with torch.no_grad():
        found.threshold_F.fill_(1.0001)
    found.control.integral.fill_(1.0001)
    found.to(dtype)
    assert found.W_enc_FD.dtype == dtype
    assert found.threshold_F.dtype == found.control.integral.dtype == torch.float32
    assert float(found.threshold_F.detach()[0]) == float(found.control.integral) == pytest.approx(1.0001, abs=1e-6)


def test_the_distance_of_dead_features_is_the_mean_of_what_each_token_lacks():
    found = trainee()
    with torch.no_grad():
        found.b_enc_F[:4] = -9
    dead_F = torch.arange(F) < 4
    pre_NF, _ = by_hand(found)
    wanted = ((found.threshold_F - pre_NF).relu() * dead_F).sum(1).mean()
    distance = found.distance(X_ND, dead_F)
    torch.testing.assert_close(distance, wanted)
    slopes = gradients(distance, found)
    for name in ("W_enc_FD", "b_enc_F", "threshold_F"):
        touched_F = slopes[name].reshape(F, -1).abs().sum(1) > 0
        assert torch.equal(touched_F, dead_F), name


@pytest.mark.parametrize("revive", [0.0, 1e-2])
def test_dead_features_come_back(revive):
    kind = JumpReLU(n_features=F, l0=3, dead_after_tokens=300, revive=revive)
    member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
    planted = world(n_true=F, d_model=D, n_tokens=2048)
    member.start(planted.x_ND)
    with torch.no_grad():
        member.trainee.get_parameter("threshold_F")[:10] = 4
        member.trainee.get_parameter("b_enc_F")[:10] = -1
    last_fired_F = torch.zeros(F)
    for step, x_ND in enumerate(planted.batches(128) * 20):
        member.step(x_ND, progress=0.5)
        last_fired_F[member.trainee.silence.tokens_F == 0] = step
    n_back = int((last_fired_F[:10] > 250).sum())
    assert n_back >= 8 if revive else n_back <= 2


def test_the_start_has_a_multiple_of_the_target_active():
    found = JumpReLU(n_features=400, l0=10).build(D, generator=torch.Generator().manual_seed(0))
    x_ND = torch.randn(500, D, generator=torch.Generator().manual_seed(1))
    found.start(x_ND)
    assert found.encode(x_ND).l0() == pytest.approx(40, rel=0.02)
    assert found.density.is_sparse(x_ND)


def test_a_dictionary_with_another_rule_is_not_adopted():
    found = trainee().float()
    assert found.fold(1.0).rule == Above()
    with pytest.raises(ConfigError, match="keeps Positive"):
        found.adopt(dataclasses.replace(found.fold(1.0), rule=Positive()), 1.0)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"l0": 0}, "l0 is 0: expected a target from 1"),
        ({"l0": 4608}, "l0 is 4608"),
        ({"l0": None}, "'target' does not go with l0 = None: give l0"),
        ({"sparsity": "tanh"}, "'tanh' does not go with l0 = 32: set l0 to None"),
        ({"weight": -1.0}, "weight is -1.0"),
        ({"bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"revive": float("inf")}, "revive is inf"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        JumpReLU(**settings)
