"""Each operation against its formula, by hand."""

import dataclasses

import pytest
import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL

from bathyscope.dictionaries.rules import Linear, Positive
from bathyscope.errors import ConfigError
from bathyscope.models.hooks import run
from bathyscope.models.prompts import text_tokens
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.affine import Affine
from bathyscope.steering.operations.amplify import Amplify
from bathyscope.steering.operations.calibrate import Calibrate
from bathyscope.steering.operations.cap import Cap
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.enforce import Enforce
from bathyscope.steering.operations.features import codes_of
from bathyscope.steering.operations.project_out import ProjectOut
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.operations.strength import Strength, typical_norm


@pytest.fixture
def dictionary(tiny_model):
    return random_dictionary(tiny_model)


@pytest.fixture
def x_ND():
    return torch.randn(20, D_MODEL, generator=torch.Generator().manual_seed(1))


def test_amplify_is_the_formula_of_the_paper(dictionary, x_ND):
    S_DM = dictionary.W_dec[[3, 8]].T
    expected = 0.7 * torch.relu(x_ND @ S_DM) @ S_DM.T
    torch.testing.assert_close(Amplify(dictionary, (3, 8), 0.7).delta(x_ND), expected)


def test_amplify_by_minus_one_erases_a_single_direction(dictionary, x_ND):
    moved = x_ND + Amplify(dictionary, (3,), -1.0).delta(x_ND)
    assert float((x_ND @ dictionary.W_dec[3]).max()) > 1
    torch.testing.assert_close(torch.relu(moved @ dictionary.W_dec[3]), torch.zeros(20), atol=1e-5, rtol=0)


def test_amplify_through_the_encoder_uses_the_codes(dictionary, x_ND):
    codes_NF = dictionary.encode(x_ND).dense()
    feature = int(codes_NF.sum(0).argmax())
    expected = -0.5 * codes_NF[:, [feature]] * dictionary.W_dec[feature]
    assert float(codes_NF[:, feature].max()) > 0
    torch.testing.assert_close(Amplify(dictionary, (feature,), -0.5, read="encoder").delta(x_ND), expected)


def test_amplify_by_zero_moves_nothing(dictionary, x_ND):
    assert not Amplify(dictionary, (3,), 0.0).delta(x_ND).any()


def test_clamp_moves_by_target_minus_code_along_the_direction(dictionary, x_ND):
    codes_N = dictionary.encode(x_ND).dense()[:, 5]
    expected = (1.5 * 2.0 - codes_N)[:, None] * dictionary.W_dec[5]
    torch.testing.assert_close(Clamp(dictionary, (5,), 1.5).delta(x_ND), expected)


def test_clamp_keeps_what_the_dictionary_does_not_explain(dictionary, x_ND):
    moved = x_ND + Clamp(dictionary, (5,), 1.5).delta(x_ND)
    off_axis = torch.eye(D_MODEL) - torch.outer(dictionary.W_dec[5], dictionary.W_dec[5])
    torch.testing.assert_close(moved @ off_axis, x_ND @ off_axis, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(moved, dictionary.reconstruct(x_ND), atol=0.1)


def test_clamp_to_the_present_value_is_no_move(dictionary, x_ND):
    present = float(dictionary.encode(x_ND[:1]).dense()[0].max())
    feature = int(dictionary.encode(x_ND[:1]).dense()[0].argmax())
    assert present > 0
    delta = Clamp(dictionary, (feature,), present / 2.0).delta(x_ND[:1])
    torch.testing.assert_close(delta, torch.zeros_like(delta), atol=1e-5, rtol=0)


def test_clamp_needs_observed_maxima(dictionary):
    with pytest.raises(ConfigError, match="no observed maxima"):
        Clamp(dataclasses.replace(dictionary, max_activation=None), (5,), 1.0)


def test_clamp_refuses_a_feature_that_never_fired(dictionary):
    never = dataclasses.replace(dictionary, max_activation=torch.zeros(48))
    with pytest.raises(ConfigError, match="feature 5 never fired"):
        Clamp(never, (5,), 1.0)
    assert Clamp(never, (5,), 0.0).strength == 0


def test_features_out_of_range_are_refused(dictionary):
    with pytest.raises(ConfigError, match="0 to 47"):
        Amplify(dictionary, (48,), 1.0)
    with pytest.raises(ConfigError, match="0 to 47"):
        Clamp(dictionary, (), 1.0)


def test_add_has_the_given_length_whatever_the_direction_s(x_ND):
    delta = Add(torch.arange(D_MODEL).float() * 9, Strength(2.5, 1.0, "activation"), "layers.1").delta(x_ND)
    torch.testing.assert_close(delta.norm(dim=1), torch.full((20,), 2.5))


def test_a_direction_of_another_shape_or_length_zero_is_refused():
    with pytest.raises(ConfigError, match="one non-zero, finite vector"):
        Add(torch.zeros(D_MODEL), Strength(1.0, 1.0, "activation"), "layers.1")


def test_random_direction_moves_each_token_as_far_along_one_line(dictionary, x_ND):
    clamp = Clamp(dictionary, (5,), 3.0)
    delta = RandomDirection(clamp, 7).delta(x_ND)
    torch.testing.assert_close(delta.norm(dim=1), clamp.delta(x_ND).norm(dim=1))
    assert int(torch.linalg.matrix_rank(delta)) == 1
    assert torch.equal(delta, RandomDirection(clamp, 7).delta(x_ND))
    assert not torch.equal(delta, RandomDirection(clamp, 8).delta(x_ND))


def test_a_dictionary_without_a_hookpoint_cannot_steer(dictionary):
    with pytest.raises(ConfigError, match="which hookpoint"):
        Clamp(dataclasses.replace(dictionary, hookpoint=None), (5,), 1.0)


def test_calibrate_without_beta_is_amplify_by_minus_one(dictionary, x_ND):
    nothing = Strength(0.0, 1.0, "activation")
    expected = Amplify(dictionary, (3, 8), -1.0).delta(x_ND)
    torch.testing.assert_close(Calibrate(dictionary, (3, 8), nothing).delta(x_ND), expected)


def test_calibrate_adds_beta_times_the_mean_row(dictionary, x_ND):
    S_MD = dictionary.W_dec[[3, 8]]
    expected = -torch.relu(x_ND @ S_MD.T) @ S_MD + 1.5 * 2.0 * S_MD.mean(0)
    torch.testing.assert_close(Calibrate(dictionary, (3, 8), Strength(1.5, 2.0, "norm")).delta(x_ND), expected)


def test_enforce_keeps_the_length_and_gives_what_is_lacking_most(dictionary, x_ND):
    moved = x_ND + Enforce(dictionary, (3, 8), Strength(2.5, 1.0, "activation")).delta(x_ND)
    torch.testing.assert_close(moved.norm(dim=1), x_ND.norm(dim=1), atol=1e-4, rtol=1e-5)
    h = ((x_ND - dictionary.b_dec) @ dictionary.W_enc + dictionary.b_enc)[:, [3, 8]]
    g = torch.relu(2.5 - torch.relu(h))
    rows = (g.sum(1) > 0).nonzero()[:, 0]
    by_hand = x_ND + 2.5 * (g / g.sum(1, keepdim=True)) @ dictionary.W_dec[[3, 8]]
    by_hand *= x_ND.norm(dim=1, keepdim=True) / by_hand.norm(dim=1, keepdim=True)
    assert len(rows) > 5
    torch.testing.assert_close(moved[rows], by_hand[rows], atol=1e-4, rtol=1e-4)


def test_enforce_changes_nothing_where_nothing_is_lacking(dictionary, x_ND):
    tiny = Strength(1e-3, 1.0, "activation")
    delta = Enforce(dictionary, (3, 8), tiny).delta(x_ND)
    h = ((x_ND - dictionary.b_dec) @ dictionary.W_enc + dictionary.b_enc)[:, [3, 8]]
    is_full = (h > 1e-3).all(1)
    assert bool(is_full.any())
    assert not delta[is_full].any()


def test_project_out_erases_directions_that_are_not_orthogonal_where_amplify_does_not(dictionary, x_ND):
    S_MD = torch.stack([dictionary.W_dec[3], dictionary.W_dec[3] + dictionary.W_dec[8]])
    moved = x_ND + ProjectOut(S_MD, "layers.1").delta(x_ND)
    torch.testing.assert_close(moved @ S_MD.T, torch.zeros(20, 2), atol=1e-4, rtol=0)
    literal = x_ND + Amplify(dictionary, (3, 8), -1.0).delta(x_ND)
    assert float(torch.relu(literal @ dictionary.W_dec[[3, 8]].T).max()) > 1e-2


def test_cap_only_takes_what_is_above(x_ND):
    u_D = torch.eye(D_MODEL)[4]
    moved = x_ND + Cap(u_D * 3, Strength(0.5, 1.0, "activation"), "layers.1").delta(x_ND)
    torch.testing.assert_close(moved[:, 4], x_ND[:, 4].clamp_max(0.5))
    assert torch.equal(moved[:, :4], x_ND[:, :4])


def test_affine_maps_the_coordinate(x_ND):
    u_D = torch.eye(D_MODEL)[4]
    moved = x_ND + Affine(u_D, -2.0, Strength(3.0, 0.5, "norm"), "layers.1").delta(x_ND)
    torch.testing.assert_close(moved[:, 4], -2 * x_ND[:, 4] + 1.5)
    assert not Affine(u_D, 1.0, None, "layers.1").delta(x_ND).any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_strength_that_is_no_number_is_refused(dictionary, value):
    with pytest.raises(ConfigError, match="no length"):
        Strength(value, 1.0, "norm")
    with pytest.raises(ConfigError, match="observed maxima"):
        Clamp(dictionary, (5,), value)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_an_alpha_or_a_scale_that_is_no_number_is_refused(dictionary, value):
    with pytest.raises(ConfigError, match="alpha is"):
        Amplify(dictionary, (5,), value)
    with pytest.raises(ConfigError, match="scale is"):
        Affine(torch.ones(D_MODEL), value, None, "layers.1")


@pytest.mark.parametrize("features", [[5, 5], [-1], [48], []])
def test_features_are_numbers_of_the_dictionary_each_once(dictionary, features):
    with pytest.raises(ConfigError, match=r"^features .*: give "):
        Clamp(dictionary, features, 1.0)


def test_a_direction_with_values_that_are_no_numbers_is_refused():
    with pytest.raises(ConfigError, match="found values that are not finite"):
        Add(torch.full((D_MODEL,), torch.nan), Strength(1.0, 1.0, "activation"), "layers.1")


def test_a_strength_says_its_unit(dictionary, tiny_model):
    assert Strength.of_maximum(3.0, dictionary, 5).amount == 6.0
    with pytest.raises(ConfigError, match="feature 5 has no observed maximum"):
        Strength.of_maximum(3.0, dataclasses.replace(dictionary, max_activation=None), 5)
    typical = typical_norm(tiny_model, "layers.1", ["hello there", "some other text"])
    x_SD = run(tiny_model, torch.tensor([text_tokens(tiny_model, "hello there")]), "layers.1")["layers.1"][0, 1:]
    assert float(x_SD.norm(dim=1).min()) * 0.5 < typical < float(x_SD.norm(dim=1).max()) * 2


@pytest.mark.parametrize("rule", [Positive(), Linear()])
def test_codes_of_some_features_are_those_of_the_whole_dictionary(dictionary, x_ND, rule):
    pointwise = dataclasses.replace(dictionary, rule=rule)
    expected = pointwise.encode(x_ND).dense()[:, [7, 2]]
    torch.testing.assert_close(codes_of(pointwise, x_ND, [7, 2]), expected)
