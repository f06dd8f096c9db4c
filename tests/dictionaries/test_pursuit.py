"""The matching-pursuit kind and its rule beyond the contract."""

import dataclasses

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels import pursuit as kernel
from bathyscope.dictionaries.kernels.pursuit import pursue_reference
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.pursuit import MatchingPursuit, MatchingPursuitTrainee
from bathyscope.dictionaries.rules import Pursuit
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError

D, F, K = 16, 40, 3


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trainee(*, seed: int = 0, **settings: object) -> MatchingPursuitTrainee:
    kind = MatchingPursuit(**{"n_features": F, "k": K, "dead_after_tokens": 100, **settings})
    found = kind.build(D, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        found.b_pre_D.add_(1.0)
    return found.double()


def dead(*features: int) -> Tensor:
    is_dead_F = torch.zeros(F, dtype=torch.bool)
    is_dead_F[list(features)] = True
    return is_dead_F


def test_the_loss_is_the_stated_formula():
    found, x_ND = trainee(k_aux=2), draw(80, D)
    found.silence.tokens_F[:7] = 10**6
    steps = pursue_reference(x_ND - found.b_pre_D, found.W_dec_FD, found.limits)
    error = steps.residual_ND.square().sum() / (x_ND - x_ND.mean(0)).square().sum()
    is_dead_F = (torch.arange(F) < 7) & (found.encode(x_ND).fires() == 0)
    assert is_dead_F.any() and not is_dead_F[:7].all(), "a feature that fires in this batch is alive again"
    left_ND = pursue_reference(
        steps.residual_ND, found.W_dec_FD[is_dead_F], found.limits._replace(n_steps=2)
    ).residual_ND
    e_ND = steps.residual_ND
    auxiliary = left_ND.square().sum() / (e_ND - e_ND.mean(0)).square().sum()
    assert float(found.loss(x_ND).total.detach()) == pytest.approx(float((error + auxiliary / 32).detach()))


@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize("residual_threshold", [0.0, 2.0])
def test_the_gradient_is_the_exact_one_through_the_whole_chain(is_signed, residual_threshold):
    found = trainee(is_signed=is_signed, residual_threshold=residual_threshold, k=6, aux_coefficient=0.0)
    x_ND = draw(60, D)
    found.loss(x_ND).total.backward()
    for parameter in found.parameters():
        direction, totals = draw(*parameter.shape, seed=3), []
        start = parameter.detach().clone()
        for sign in (1, -1):
            with torch.no_grad():
                parameter.copy_(start + sign * 1e-6 * direction)
                totals.append(float(found.loss(x_ND).total))
                parameter.copy_(start)
        assert parameter.grad is not None
        slope = float((parameter.grad * direction).sum())
        assert slope == pytest.approx((totals[0] - totals[1]) / 2e-6, rel=1e-5)


def test_a_gradient_with_codes_held_fixed_would_be_another_one():
    found, x_ND = trainee(aux_coefficient=0.0), draw(60, D)
    found.loss(x_ND).total.backward()
    codes, variation = found.encode(x_ND), float((x_ND - x_ND.mean(0)).square().sum())
    residual_ND = (x_ND - found.decode(codes)).detach()
    held_FD = -2 * codes.dense().detach().T @ residual_ND / variation
    gradient_FD = found.W_dec_FD.grad
    assert gradient_FD is not None
    assert float((gradient_FD - held_FD).norm()) > 0.05 * float(gradient_FD.norm())


def test_the_auxiliary_loss_reaches_dead_features_only_and_takes_the_residual_as_given():
    found, residual_ND = trainee(), draw(50, D).requires_grad_()
    found.auxiliary(residual_ND.detach(), dead(1, 5, 8)).backward()
    gradient_FD = found.W_dec_FD.grad
    assert gradient_FD is not None
    assert (gradient_FD.abs().sum(1) > 0).nonzero().flatten().tolist() == [1, 5, 8]
    found = trainee(aux_coefficient=1000.0)
    found.silence.tokens_F[:] = torch.where(found.encode(draw(50, D)).fires() > 0, 0, 10**6)
    is_live_F = found.silence.tokens_F == 0
    slopes = list[Tensor]()
    for _ in range(2):
        found.zero_grad()
        found.loss(draw(50, D)).total.backward()
        slopes.append(found.get_parameter("W_dec_FD").grad[is_live_F])  # pyright: ignore[reportOptionalSubscript]
        found.silence.tokens_F[:] = 0
    torch.testing.assert_close(*slopes)


def test_zeroed_rows_are_never_taken_so_that_masking_live_rows_equals_leaving_them_out():
    found, residual_ND, is_dead_F = trainee(), draw(50, D), dead(1, 5, 8)
    for limits in (found.limits, found.limits._replace(is_signed=True)):
        kept = pursue_reference(residual_ND, found.W_dec_FD[is_dead_F], limits).residual_ND
        masked = pursue_reference(residual_ND, found.W_dec_FD * is_dead_F[:, None], limits).residual_ND
        torch.testing.assert_close(masked, kept)


@pytest.mark.parametrize("coefficient", [0.0, 1 / 32])
def test_the_auxiliary_loss_revives_dead_features(coefficient):
    kind = MatchingPursuit(n_features=F, k=K, dead_after_tokens=1000, aux_coefficient=coefficient, is_signed=True)
    member = Member(kind, d_model=D + 4, optimisation=kind.optimisation(D), seed=0)
    planted = world(n_true=F, d_model=D, n_tokens=2048)
    x_ND = torch.cat([planted.x_ND, torch.zeros(2048, 4)], dim=1)
    member.start(x_ND)
    with torch.no_grad():
        rows_FD = member.trainee.get_parameter("W_dec_FD")
        rows_FD[:10, :D] *= 1e-3  # almost at right angles to all data, and to what other rows leave of it
        rows_FD[10:, D:] = 0
        rows_FD /= rows_FD.norm(dim=1, keepdim=True)
    last_fired_F = torch.zeros(F)
    for step, batch_ND in enumerate(list(x_ND.split(256)) * 12):
        member.step(batch_ND, progress=0.3)
        last_fired_F[member.trainee.silence.tokens_F == 0] = step
    n_revived = int((last_fired_F[:10] > 80).sum())
    assert n_revived >= 8 if coefficient else n_revived <= 1


@pytest.mark.parametrize("scale", [1.0, 0.2, 7.0])
def test_a_residual_threshold_is_folded_with_the_scale(scale):
    found = trainee(residual_threshold=2.5, k=12).float()
    x_ND = draw(300, D).float() + 1
    dictionary = found.fold(scale)
    assert isinstance(dictionary.rule, Pursuit)
    assert dictionary.rule.residual_threshold == pytest.approx(2.5 / scale)
    inner, outer = found.encode(scale * x_ND), dictionary.encode(x_ND)
    torch.testing.assert_close(outer.dense(), inner.dense() / scale, rtol=1e-4, atol=1e-4 / scale)
    n_active_N = (outer.values_NK != 0).sum(1)
    assert n_active_N.min() < n_active_N.max(), "some tokens are done early"
    again = found.kind.build(D, generator=torch.Generator())
    again.adopt(dataclasses.replace(dictionary), scale)
    torch.testing.assert_close(again.fold(scale).encode(x_ND).dense(), outer.dense(), rtol=1e-4, atol=1e-4 / scale)


def test_a_dictionary_with_another_rule_is_not_taken_up():
    dictionary = trainee(k=4).float().fold(1.0)
    with pytest.raises(ConfigError, match=r"keeps Pursuit\(k=4.*this kind keeps Pursuit\(k=3"):
        trainee().float().adopt(dictionary, 1.0)


def test_attribution_goes_through_the_projections_of_the_chosen_features():
    dictionary = trainee().float().fold(1.0)
    x_ND = (draw(200, D).float() + 1).requires_grad_()
    codes = dictionary.encode(x_ND)
    (slope_ND,) = torch.autograd.grad(codes.values_NK.sum(), [x_ND])
    for n in range(0, 200, 17):
        left_DD, wanted_D = torch.eye(D), torch.zeros(D)
        steps = pursue_reference(x_ND[n : n + 1].detach() - dictionary.b_dec, dictionary.W_dec, Pursuit(k=K).limits)
        for f, value in zip(steps.indices_NK[0].tolist(), steps.values_NK[0].tolist(), strict=True):
            if value != 0:
                row_D = dictionary.W_dec[f]
                wanted_D += left_DD.T @ row_D
                left_DD = left_DD - torch.outer(row_D, row_D @ left_DD)
        torch.testing.assert_close(slope_ND[n], wanted_D, rtol=1e-4, atol=1e-4)


def test_encoding_does_not_depend_on_which_path_is_taken(monkeypatch):
    dictionary, x_ND = trainee().float().fold(1.0), draw(500, D).float() + 1
    fast = dictionary.encode(x_ND)
    monkeypatch.setattr(kernel, "GRAM_FEATURES", 0)
    plain = dictionary.encode(x_ND)
    torch.testing.assert_close(fast.dense(), plain.dense(), rtol=1e-4, atol=1e-5)


def test_pre_activations_come_with_the_codes_of_encode():
    dictionary, x_ND = trainee().float().fold(1.0), draw(50, D).float() + 1
    pre_NF, codes = dictionary.pre_and_codes(x_ND)
    assert torch.equal(codes.dense(), dictionary.encode(x_ND).dense())
    assert torch.equal(pre_NF, dictionary.pre(x_ND))
    first = pre_NF.argmax(1)
    assert torch.equal(codes.indices_NK[:, 0], first), "the first step takes the largest pre-activation"
    with pytest.raises(ConfigError, match="use encode"):
        dictionary.keep(pre_NF)


@pytest.mark.parametrize("stops_on_duplicate", [True, False])
def test_atoms_of_other_lengths_are_pursued_as_they_are_and_coded_in_unit_directions(stops_on_duplicate):
    atoms_FD = (draw(F, D) / D**0.5 * 0.9).float()
    x_ND, length_F = draw(100, D).float(), atoms_FD.norm(dim=1)
    rule = Pursuit(k=8, residual_threshold=1.0, stops_on_duplicate=stops_on_duplicate)
    steps = pursue_reference(x_ND, atoms_FD, rule.limits)
    weights = Weights(
        W_enc=atoms_FD.T.contiguous(), b_enc=torch.zeros(F), W_dec=atoms_FD / length_F[:, None], b_dec=torch.zeros(D)
    )
    dictionary = Dictionary(weights=weights, rule=rule, subtract_b_dec=True)
    raw_NF = torch.zeros(100, F).scatter_add(1, steps.indices_NK, steps.values_NK)
    torch.testing.assert_close(dictionary.encode(x_ND).dense(), raw_NF * length_F, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dictionary.reconstruct(x_ND), raw_NF @ atoms_FD, rtol=1e-4, atol=1e-4)


def test_signed_codes_are_learnt_where_they_are_wanted():
    planted = world(n_true=F, d_model=D, n_tokens=4096)
    for is_signed in (True, False):
        kind = MatchingPursuit(n_features=F, k=K, is_signed=is_signed)
        member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
        member.start(planted.x_ND)
        for x_ND in planted.batches(256):
            member.step(x_ND, progress=0.5)
        assert bool((member.fold().encode(planted.x_ND).values_NK < 0).any()) == is_signed


def test_decoder_rows_stay_unit():
    kind = MatchingPursuit(n_features=F, k=K)
    member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
    x_ND = world(n_true=F, d_model=D, n_tokens=256).x_ND
    member.start(x_ND)
    for _ in range(3):
        member.step(x_ND, progress=0.5)
        torch.testing.assert_close(member.trainee.get_parameter("W_dec_FD").detach().norm(dim=1), torch.ones(F))


def test_training_on_fast_paths_follows_training_on_references(monkeypatch):
    planted = world(n_true=F, d_model=D, n_tokens=2048)
    kind = MatchingPursuit(n_features=F, k=K, dead_after_tokens=500)
    curves: list[list[float]] = []
    for limit in (kernel.GRAM_FEATURES, 0):
        monkeypatch.setattr(kernel, "GRAM_FEATURES", limit)
        member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
        member.start(planted.x_ND)
        curves.append([])
        for x_ND in planted.batches(64):
            member.step(x_ND, progress=0.5)
            curves[-1].append(member.read()["loss"])
    assert sum(curves[0][-5:]) < sum(curves[0][:5])
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"n_features": 8, "k": 9}, "k is 9: expected 1 to n_features = 8"),
        ({"residual_threshold": -1.0}, "residual_threshold is -1.0"),
        ({"k_aux": 0}, "k_aux is 0"),
        ({"aux_coefficient": -1.0}, "aux_coefficient is -1.0"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        MatchingPursuit(**settings)
