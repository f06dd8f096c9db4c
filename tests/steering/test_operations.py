"""Each operation against its formula, by hand."""

import dataclasses

import pytest
import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL

from bathyscope.errors import ConfigError
from bathyscope.steering.operations import Add, Amplify, Clamp, RandomDirection


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
    delta = Add(torch.arange(D_MODEL).float() * 9, 2.5, "layers.1").delta(x_ND)
    torch.testing.assert_close(delta.norm(dim=1), torch.full((20,), 2.5))


def test_a_direction_of_another_shape_or_length_zero_is_refused():
    with pytest.raises(ConfigError, match="one non-zero vector"):
        Add(torch.zeros(D_MODEL), 1.0, "layers.1")


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
