"""TopK beyond the contract: the auxiliary loss and its traps."""

import dataclasses

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor

from bathyscope.dictionaries.kernels import auxiliary, engine, select
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.topk import TopK, TopKTrainee
from bathyscope.errors import ConfigError

D, F, K = 16, 40, 3


def trainee(*, seed: int = 0, **settings: object) -> TopKTrainee:
    kind = TopK(**{"n_features": F, "k": K, "dead_after_tokens": 100, **settings})  # pyright: ignore[reportArgumentType]
    found = kind.build(D, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        found.b_enc_F += 0.1 * torch.randn(F, generator=torch.Generator().manual_seed(seed + 1))
        found.b_pre_D += 1.0
    return found.double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dead(*features: int) -> Tensor:
    is_dead_F = torch.zeros(F, dtype=torch.bool)
    is_dead_F[list(features)] = True
    return is_dead_F


def gradients(outcome: Tensor, module: TopKTrainee) -> dict[str, Tensor]:
    module.zero_grad(set_to_none=True)
    outcome.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def test_the_loss_is_the_papers_formula():
    found, x_ND = trainee(k_aux=2), draw(50, D)
    found.silence.tokens_F[:7] = 10**6
    fires_F = found.encode(x_ND).fires()
    pre_NF = (x_ND - found.b_pre_D) @ found.W_enc_FD.T + found.b_enc_F
    codes_NF = torch.zeros_like(pre_NF).scatter(1, pre_NF.topk(K).indices, pre_NF.topk(K).values.relu())
    residual_ND = x_ND - codes_NF @ found.W_dec_FD - found.b_pre_D
    is_dead_F = (torch.arange(F) < 7) & (fires_F == 0)
    assert is_dead_F.any() and not is_dead_F[:7].all(), "a feature that fires in this batch is alive again"
    top = pre_NF.masked_fill(~is_dead_F, -torch.inf).topk(2)
    guess_ND = torch.zeros_like(pre_NF).scatter(1, top.indices, top.values.relu()) @ found.W_dec_FD
    error = residual_ND.square().sum() / (x_ND - x_ND.mean(0)).square().sum()
    auxiliary = (residual_ND - guess_ND).square().sum() / (residual_ND - residual_ND.mean(0)).square().sum()
    assert float(found.loss(x_ND).total.detach()) == pytest.approx(float((error + auxiliary / 32).detach()))


def test_the_auxiliary_loss_reaches_encoder_and_decoder_of_dead_features_only():
    found, x_ND = trainee(), draw(50, D)
    slopes = gradients(found.auxiliary(x_ND, draw(50, D, seed=1), dead(1, 5, 8)), found)
    for name in ("W_enc_FD", "W_dec_FD"):
        touched = slopes[name].abs().sum(1) > 0
        assert touched.nonzero().flatten().tolist() == [1, 5, 8], name


def test_the_auxiliary_guess_has_no_bias():
    found, x_ND, residual_ND = trainee(), draw(50, D), draw(50, D, seed=1)
    before = float(found.auxiliary(x_ND, residual_ND, dead(1, 2)).detach())
    with torch.no_grad():
        found.b_pre_D += 7
    after = float(found.auxiliary(x_ND + 7, residual_ND, dead(1, 2)).detach())
    assert after == pytest.approx(before)


def test_the_residual_is_a_fixed_target():
    found, x_ND = trainee(aux_coefficient=1000.0), draw(50, D)
    found.silence.tokens_F[:] = 10**6
    is_live_F = found.encode(x_ND).fires() > 0
    found.silence.tokens_F[:] = torch.where(is_live_F, 0, 10**6)
    with_auxiliary = gradients(found.loss(x_ND).total, found)["W_dec_FD"][is_live_F]
    found.silence.tokens_F[:] = 0
    without = gradients(found.loss(x_ND).total, found)["W_dec_FD"][is_live_F]
    torch.testing.assert_close(with_auxiliary, without)


def test_nothing_dead_adds_nothing():
    found, x_ND = trainee(), draw(50, D)
    assert float(found.auxiliary(x_ND, draw(50, D, seed=1), dead())) == 0
    assert float(found.loss(x_ND).parts["auxiliary"]) == 0


def test_the_coefficient_zero_switches_the_auxiliary_loss_off():
    found = trainee(aux_coefficient=0.0)
    found.silence.tokens_F[:] = 10**6
    assert set(found.loss(draw(50, D)).parts) == {"error"}


@pytest.mark.parametrize("x_ND", [torch.full((4, D), 3.0), torch.randn(1, D)], ids=["all alike", "one token"])
def test_a_batch_without_variance_gives_no_nan(x_ND):
    found = trainee()
    loss = found.loss(x_ND.double())
    assert float(loss.total.detach()) == 0
    assert all(slope.isfinite().all() for slope in gradients(loss.total, found).values())


def test_half_the_width_rounded_to_a_power_of_two_is_the_default_number_of_auxiliary_features():
    sizes = {d: TopK(n_features=4, k=1).build(d, generator=torch.Generator()).k_aux for d in (2, 32, 576, 768, 4096)}
    assert sizes == {2: 1, 32: 16, 576: 256, 768: 512, 4096: 2048}


def test_decoder_rows_stay_unit_and_the_gradient_is_projected_before_the_step():
    kind = TopK(n_features=F, k=K)
    member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
    x_ND = world(n_true=F, d_model=D, n_tokens=256).x_ND
    member.start(x_ND)
    seen: list[float] = []
    original = member._adam.step

    def step() -> None:
        W_dec_FD = member.trainee.get_parameter("W_dec_FD")
        assert W_dec_FD.grad is not None and W_dec_FD.grad.abs().max() > 0
        seen.append(float(torch.linalg.vecdot(W_dec_FD.grad, W_dec_FD.detach()).abs().max()))
        original()

    member._adam.step = step  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(3):
        member.step(x_ND, progress=0.5)
        torch.testing.assert_close(member.trainee.get_parameter("W_dec_FD").detach().norm(dim=1), torch.ones(F))
    assert len(seen) == 3 and max(seen) < 1e-6


@pytest.mark.parametrize("coefficient", [0.0, 1 / 4])
def test_the_auxiliary_loss_revives_dead_features(coefficient):
    kind = TopK(n_features=F, k=K, dead_after_tokens=1000, aux_coefficient=coefficient)
    optimisation = dataclasses.replace(kind.optimisation(D), lr=1e-2)
    member = Member(kind, d_model=D, optimisation=optimisation, seed=0)
    planted = world(n_true=F, d_model=D, n_tokens=2048)
    member.start(planted.x_ND)
    with torch.no_grad():
        member.trainee.get_parameter("b_enc_F")[:10] = -4
    last_fired_F = torch.zeros(F)
    for step, x_ND in enumerate(planted.batches(256) * 12):
        member.step(x_ND, progress=0.5)
        last_fired_F[member.trainee.silence.tokens_F == 0] = step
    n_revived = int((last_fired_F[:10] > 48).sum())
    assert n_revived >= 5 if coefficient else n_revived <= 1


def test_multi_topk_adds_an_eighth_of_the_error_with_more_features():
    found, x_ND = trainee(multi_k=12, aux_coefficient=0.0), draw(50, D)
    pre_NF = (x_ND - found.b_pre_D) @ found.W_enc_FD.T + found.b_enc_F
    errors = []
    for k in (K, 12):
        top = pre_NF.topk(k)
        codes_NF = torch.zeros_like(pre_NF).scatter(1, top.indices, top.values.relu())
        errors.append((x_ND - codes_NF @ found.W_dec_FD - found.b_pre_D).square().sum())
    variation = (x_ND - x_ND.mean(0)).square().sum()
    loss, wanted = found.loss(x_ND), (errors[0] + errors[1] / 8) / variation
    assert float(loss.total.detach()) == pytest.approx(float(wanted.detach()))
    assert float(loss.squared_error) == pytest.approx(float(errors[0].detach()))
    slopes = gradients(loss.total, found)
    torch.testing.assert_close(slopes, gradients(wanted, found))


def test_the_second_error_of_multi_topk_gives_the_encoder_a_gradient():
    """sparsify 1.3.3 gave exactly 0: rows of features that only the larger number reaches never moved."""
    x_ND = draw(4, D)
    found = trainee(multi_k=12, aux_coefficient=0.0)
    single = trainee(aux_coefficient=0.0)
    torch.testing.assert_close(found.W_enc_FD, single.W_enc_FD)
    share = (
        gradients(found.loss(x_ND).total, found)["W_enc_FD"] - gradients(single.loss(x_ND).total, single)["W_enc_FD"]
    )
    is_further_F = (found.encode(x_ND).fires() == 0) & (
        found._pairs(x_ND, 12).indices_NK.flatten().bincount(minlength=F) > 0
    )
    assert is_further_F.sum() >= 3 and (share[is_further_F].abs().sum(1) > 0).all()


def test_multi_topk_leaves_the_codes_alone():
    x_ND = draw(50, D)
    found, single = trainee(multi_k=12), trainee()
    assert torch.equal(found.encode(x_ND).dense(), single.encode(x_ND).dense())
    assert found.fold(1.0).rule == single.fold(1.0).rule
    assert torch.equal(found.loss(x_ND).fires_F, single.encode(x_ND).fires())


def test_the_largest_among_pairs_are_those_selected_at_once():
    pre_NF = draw(60, F)
    pre_NF[:5] -= 10  # nothing positive there
    many, few = select.select_largest(pre_NF, 12), select.select_largest(pre_NF, K)
    found = select.select_among(many, K)
    dense = [torch.zeros_like(pre_NF).scatter_add(1, p.indices_NK, p.values_NK) for p in (found, few)]
    assert torch.equal(*dense) and found.values_NK.shape == (60, K)
    assert select.select_among(few, K) is few


def test_k_falls_over_its_share_of_the_run():
    kind = TopK(n_features=F, k=4, k_start=20, k_anneal=0.5)
    assert [kind.k_at(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)] == [20, 12, 4, 4, 4]
    found, x_ND = trainee(k=4, k_start=20, k_anneal=0.5), draw(50, D) + 1
    l0 = [float(found.loss(x_ND, progress=progress).fires_F.sum()) / 50 for progress in (0.0, 0.25, 1.0)]
    assert l0[0] > l0[1] > l0[2] and l0[2] <= 4
    assert found.encode(x_ND).values_NK.shape[1] == 4
    assert {TopK(k=4).k_at(progress) for progress in (0.0, 0.5, 1.0)} == {4}, "off by default"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"n_features": 8, "k": 9}, "k is 9: expected 1 to n_features = 8"),
        ({"k": 0}, "k is 0"),
        ({"k_aux": 0}, "k_aux is 0"),
        ({"aux_coefficient": -1.0}, "aux_coefficient is -1.0"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
        ({"multi_k": 32}, "multi_k is 32: expected more than 32"),
        ({"multi_k": 5000}, "at most n_features = 4608"),
        ({"multi_k": 64, "multi_coefficient": 0.0}, r"multi_coefficient is 0\.0"),
        ({"k_start": 8, "k_anneal": 0.1}, "k_start is 8: expected k = 32"),
        ({"k_start": 64}, r"k_anneal is 0\.0 and k_start 64"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        TopK(**settings)


def test_training_on_fast_paths_follows_training_on_references(monkeypatch):
    planted = world(n_true=F, d_model=D, n_tokens=4096)
    kind = TopK(n_features=F, k=K, dead_after_tokens=500)
    curves: list[list[float]] = []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr(auxiliary, "auxiliary_guess_subset", auxiliary.auxiliary_guess_reference)
            monkeypatch.setattr(engine, "COMPILED", ())
        member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
        member.start(planted.x_ND)
        curves.append([])
        for x_ND in planted.batches(64):
            member.step(x_ND, progress=0.5)
            curves[-1].append(member.read()["loss"])
    assert len(curves[0]) == 64 and curves[0][-1] < 0.8 * curves[0][0]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
