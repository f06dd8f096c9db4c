"""Sampling, with mirrors, Sobol points, controls and tilts: unbiased, with intervals that cover, counted."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from risk.layerwise.networks import central, small

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.control import sample_with_control
from bathyscope.risk.layerwise.network import Dense, Network, random_network
from bathyscope.risk.layerwise.pooled import pooled, sampled_cumulants
from bathyscope.risk.layerwise.propagate import propagate, propagate_singly
from bathyscope.risk.layerwise.sampling import of_units, sample
from bathyscope.risk.layerwise.slopes import mean_jacobian
from bathyscope.risk.layerwise.tilt import tilted
from bathyscope.risk.layerwise.truth import long_sample

DRAWS = ("plain", "antithetic", "sobol")
ONE_LAYER = small(n_hidden=1, width=8)


@pytest.mark.parametrize("draws", DRAWS)
def test_means_of_one_layer_are_within_their_errors_of_the_exact_ones(draws):
    found = sample(ONE_LAYER, 2048, seed=0, draws=draws)
    off_D = (found.mean_D - propagate(ONE_LAYER).mean_D) / found.error_D
    assert float(off_D.abs().max()) < 5
    assert 0.3 < float(off_D.square().mean()) < 3


@pytest.mark.parametrize("draws", DRAWS)
def test_intervals_cover_as_often_as_they_say(draws):
    exact_D = propagate(ONE_LAYER).mean_D
    covered = []
    for seed in range(40):
        low_D, high_D = sample(ONE_LAYER, 256, seed=seed, draws=draws).interval()
        covered.append((low_D <= exact_D) & (exact_D <= high_D))
    assert 0.88 < float(torch.stack(covered).double().mean()) < 0.99


def test_mirrored_inputs_take_away_all_that_is_odd():
    linear = small("identity", n_hidden=2)
    found = sample(linear, 64, seed=0, draws="antithetic")
    torch.testing.assert_close(found.mean_D, propagate(linear).mean_D, rtol=1e-4, atol=1e-5)
    assert float(found.error_D.max()) < 1e-6


def test_what_was_run_is_what_was_counted():
    seen = []

    def function(x_NI):
        seen.append(len(x_NI))
        return x_NI

    for draws, n in (("plain", 5000), ("antithetic", 5000), ("sobol", 64)):
        seen.clear()
        units = list(of_units(function, 3, n, seed=0, draws=draws))
        assert sum(seen) == n
        assert sum(map(len, units)) == {"plain": 5000, "antithetic": 2500, "sobol": 16}[draws]


@pytest.mark.parametrize(("draws", "n"), [("plain", 1), ("antithetic", 7), ("sobol", 100)])
def test_too_few_inputs_are_refused(draws, n):
    with pytest.raises(ConfigError, match=f"n is {n}"):
        sample(ONE_LAYER, n, seed=0, draws=draws)


def test_an_unknown_way_of_drawing_is_refused():
    with pytest.raises((ConfigError, TypeCheckError), match="draws"):
        sample(ONE_LAYER, 100, seed=0, draws="halton")


def test_the_mean_jacobian_of_a_linear_network_is_the_product_of_its_weights():
    network = small("identity", n_hidden=3)
    one, two, three = (layer.W_DI for layer in network.layers)
    torch.testing.assert_close(mean_jacobian(network, first=0), three @ two @ one)
    torch.testing.assert_close(mean_jacobian(network, first=2), three)


@pytest.mark.parametrize("draws", DRAWS)
def test_a_control_is_unbiased_and_takes_variance_away(draws):
    network = random_network(width=32, n_hidden=3, seed=0)
    truth = long_sample(network, 2**17, seed=1)
    plain, controlled = (
        sample(network, 2048, seed=2, draws=draws),
        sample_with_control(network, 2048, seed=2, draws=draws),
    )
    assert float(controlled.error_D.square().mean()) < 0.9 * float(plain.error_D.square().mean())
    live_D = controlled.error_D > 1e-6
    off_D = ((controlled.mean_D - truth.means_2D.mean(0)) / controlled.error_D)[live_D]
    assert float(off_D.square().mean()) < 2


def test_a_control_of_a_network_that_is_linear_from_its_second_layer_on_leaves_nothing_to_sample():
    network = Network((*small(n_hidden=1).layers, *small("identity", n_hidden=1, seed=1).layers))
    found = sample_with_control(network, 512, seed=0)
    torch.testing.assert_close(found.mean_D, propagate(network).mean_D, rtol=1e-4, atol=1e-5)
    assert float(found.error_D.max()) < 1e-5


def test_one_layer_needs_no_control():
    with pytest.raises(ConfigError, match="exact means"):
        sample_with_control(ONE_LAYER, 64, seed=0)


def test_a_tilt_finds_a_tail_that_sampling_does_not_see():
    """P(Z > 6) ≈ 9.9e-10, from 4,000 inputs."""
    network = Network((Dense(torch.tensor([[0.6, 0.8]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)),))
    exact = float(torch.special.ndtr(torch.tensor(-6.0, dtype=torch.float64)))
    found = tilted(network, 6.0, 4000, seed=0)
    assert abs(float(found.p_O[0]) - exact) < 4 * float(found.error_O[0]) < 0.5 * exact
    assert found.n_forward == 4000
    assert 1 < float(found.effective_hits_O[0]) < int(found.n_hits_O[0])


def test_tilted_intervals_cover_as_often_as_they_say():
    network = random_network(width=16, n_hidden=2, seed=3, is_linear_last=True)
    truth = long_sample(network, 2**19, seed=1, thresholds=(3.0,)).shares_2BD[:, 0].mean(0)
    asked = truth.argsort()[-6:].tolist()
    covered = []
    for seed in range(20):
        low_O, high_O = tilted(network, 3.0, 1000, seed=seed, outputs=asked).interval()
        covered.append((low_O <= truth[asked]) & (truth[asked] <= high_O))
    assert float(torch.stack(covered).double().mean()) > 0.85


def test_no_weight_is_above_the_inverse_share_of_plain_inputs():
    network = random_network(width=16, n_hidden=2, seed=0, is_linear_last=True)
    found = tilted(network, -100.0, 500, seed=0)  # every input is a hit, and no shift is needed
    torch.testing.assert_close(found.p_O, torch.ones_like(found.p_O))
    assert float(found.error_O.max()) == 0


def test_without_hits_the_interval_still_has_an_upper_end():
    network = random_network(width=4, n_hidden=1, seed=0, is_linear_last=True)
    low_O, high_O = tilted(network, 1e6, 100, seed=0).interval()
    assert float(low_O.max()) == 0
    torch.testing.assert_close(high_O, torch.full_like(high_O, 0.3))


def test_outputs_that_do_not_exist_are_refused_by_number():
    with pytest.raises(ConfigError, match=r"outputs \[9\]"):
        tilted(ONE_LAYER, 1.0, 100, seed=0, outputs=[0, 9])


def test_sampled_cumulants_are_those_of_the_sample():
    n = 4096
    values_ND = torch.cat(list(of_units(ONE_LAYER, 8, n, seed=0, draws="plain")))
    expected, *_ = central(values_ND)
    found = sampled_cumulants(ONE_LAYER, n, seed=0)
    torch.testing.assert_close(found.third_D, expected.third_D)
    torch.testing.assert_close(found.fourth_D, expected.fourth_D)


def test_pooled_cumulants_are_closer_than_either_alone():
    network = random_network(width=32, n_hidden=3, seed=0, is_linear_last=True)
    truth = sampled_cumulants(network, 2**18, seed=1)
    n = 2**13
    unit_D = truth.variance_D**2
    off = [
        float((((each.fourth_D - truth.fourth_D) / unit_D) ** 2).mean())
        for each in (pooled(network, n, seed=2), sampled_cumulants(network, n, seed=2), propagate_singly(network))
    ]
    assert off[0] < min(off[1:])


def test_too_few_outputs_to_pool_are_refused():
    with pytest.raises(ConfigError, match="at least 16 and 1,000"):
        pooled(ONE_LAYER, 5000, seed=0)


def test_the_truth_s_excess_has_no_floor_of_its_own():
    network = random_network(width=64, n_hidden=1, seed=0)
    truth = long_sample(network, 2**14, seed=1)
    exact_D = propagate(network).mean_D
    excess = truth.excess(exact_D)
    assert abs(excess.value) < 4 * excess.noise
    assert excess.bound < float(truth.variance_D.mean()) / 2**14
    shifted = truth.excess(exact_D + 0.1)
    assert math.isclose(shifted.value, 0.01, rel_tol=0.1)


def test_a_truth_that_does_not_fill_two_halves_is_refused():
    with pytest.raises(ConfigError, match="multiple of 8192"):
        long_sample(ONE_LAYER, 10_000, seed=0)
