"""Shuffled codes: where features are independent the estimate is right down to 1e-8, and its flags where it is not."""

import math

import numpy as np
import pytest
import torch
from risk.enumerable import problem

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.features.shuffled import ShuffledCodes
from bathyscope.risk.head import Head
from bathyscope.risk.run import estimate

P_FIRES, N_FEATURES = 0.02, 8


def planted(n: int, seed: int = 0, *, fires: float = P_FIRES) -> tuple[torch.Tensor, Dictionary]:
    """Activations whose coordinates are features that fire independently, each with value 1."""
    eye = torch.eye(N_FEATURES)
    weights = Weights(W_enc=eye, b_enc=torch.zeros(N_FEATURES), W_dec=eye, b_dec=torch.zeros(N_FEATURES))
    dictionary = Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False)
    fires_NF = torch.rand(n, N_FEATURES, generator=torch.Generator().manual_seed(seed)) < fires
    return fires_NF.float(), dictionary


def counting_head(n_needed: int) -> Head:
    """Token 0 is the likeliest exactly where at least `n_needed` of the features fire."""
    weight_VD = torch.stack([torch.ones(N_FEATURES), torch.zeros(N_FEATURES)])
    return Head(weight_VD=weight_VD, bias_V=torch.tensor([0.0, n_needed - 0.5]), hookpoint="norm")


def exact(n_needed: int, p: float = P_FIRES) -> float:
    return sum(math.comb(N_FEATURES, k) * p**k * (1 - p) ** (N_FEATURES - k) for k in range(n_needed, N_FEATURES + 1))


@pytest.mark.parametrize("n_needed", [2, 3, 4, 5])
def test_a_probability_that_no_input_shows_is_found_where_features_are_independent(n_needed):
    x_ND, dictionary = planted(20_000)
    (found,) = ShuffledCodes(dictionary=dictionary, n_drawn=4000).of_activations(
        x_ND, counting_head(n_needed), [0], level=0.99, seed=0
    )
    truth = exact(n_needed)
    assert found.log_p == pytest.approx(math.log(truth), abs=0.25)
    assert found.log_low <= math.log(truth) <= found.log_high
    assert (found.n_hits == 0) == (n_needed >= 4)


def test_the_interval_covers_another_sample_of_inputs_as_often_as_it_says():
    truth, inside = math.log(exact(3)), 0
    for seed in range(25):
        x_ND, dictionary = planted(800, seed)
        (found,) = ShuffledCodes(dictionary=dictionary, n_drawn=1000).of_activations(
            x_ND, counting_head(3), [0], level=0.9, seed=seed
        )
        inside += found.log_low <= truth <= found.log_high
    assert 19 <= inside <= 25


def test_features_that_exclude_each_other_are_kept_apart_in_one_block_only():
    """The assumption, broken: two features never fire together, but shuffled ones do."""
    x_ND, dictionary = planted(4000, fires=0.3)
    x_ND[:, 1] = 1 - x_ND[:, 0]
    weight_VD = torch.zeros(2, N_FEATURES)
    weight_VD[0, :2] = 1.0
    head = Head(weight_VD=weight_VD, bias_V=torch.tensor([0.0, 1.5]), hookpoint="norm")
    apart, together = (
        ShuffledCodes(dictionary=dictionary, block_size=size).of_activations(x_ND, head, [0], level=0.9, seed=0)[0]
        for size in (1, 2)
    )
    assert math.exp(apart.log_p) == pytest.approx(0.3 * 0.7, rel=0.1)
    assert together.log_p == -math.inf
    assert "infeasible" in together.flags
    assert together.log_high == pytest.approx(math.log(1 - 0.1 ** (1 / 4000)))


def test_the_order_of_features_does_not_matter():
    x_ND, dictionary = planted(3000)
    turned = torch.arange(N_FEATURES).flip(0)
    weights = Weights(
        W_enc=dictionary.W_enc[:, turned],
        b_enc=dictionary.b_enc,
        W_dec=dictionary.W_dec[turned],
        b_dec=dictionary.b_dec,
    )
    other = Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False)
    one, two = (
        ShuffledCodes(dictionary=d).of_activations(x_ND, counting_head(3), [0], level=0.9, seed=0)[0].log_p
        for d in (dictionary, other)
    )
    assert one == pytest.approx(two, abs=0.15)


def test_an_event_that_is_not_rare_needs_no_tilt():
    x_ND, dictionary = planted(2000, fires=0.5)
    (found,) = ShuffledCodes(dictionary=dictionary).of_activations(x_ND, counting_head(4), [0], level=0.9, seed=0)
    assert math.exp(found.log_p) == pytest.approx(exact(4, 0.5), abs=0.03)
    assert found.pareto_k is not None


def test_a_dictionary_of_another_place_is_refused_before_the_first_forward():
    _, dictionary = planted(10)
    with pytest.raises(ConfigError, match=r"needs a dictionary of 'ln_f', width 16, .* this one is of None, width 8"):
        estimate(problem(), ShuffledCodes(dictionary=dictionary), Budget(forward=500))


@pytest.mark.parametrize("settings", [{"block_size": 0}, {"n_drawn": 10}])
def test_settings_that_make_no_sense_are_refused(settings):
    _, dictionary = planted(10)
    with pytest.raises(ConfigError, match="block_size of at least 1 and at least 100 draws"):
        ShuffledCodes(dictionary=dictionary, **settings)


def test_the_same_seed_gives_the_same_figures():
    x_ND, dictionary = planted(1000)
    first, second, third = (
        ShuffledCodes(dictionary=dictionary, n_drawn=500).of_activations(
            x_ND, counting_head(3), [0], level=0.9, seed=seed
        )[0]
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first != third
    assert np.isfinite(first.log_p)
