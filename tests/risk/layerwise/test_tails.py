"""Tails: exact for laws that are of the kind, always between 0 and 1, where the series is not."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from risk.layerwise.networks import small
from scipy.stats import norminvgauss
from torch import nn

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.moments import Singles
from bathyscope.risk.layerwise.network import Dense, Network, random_network
from bathyscope.risk.layerwise.tails import edgeworth, tail
from bathyscope.risk.layerwise.threshold import threshold_probability
from bathyscope.risk.layerwise.truth import long_sample

LEVELS_B = torch.tensor([-1.0, 0.0, 2.0, 5.0, 12.0], dtype=torch.float64)


def law(mean=0.0, variance=1.0, third=0.0, fourth=0.0):
    return Singles(*(torch.tensor([each], dtype=torch.float64) for each in (mean, variance, third, fourth)))


def test_without_higher_cumulants_it_is_the_normal_tail():
    found = tail(law(mean=0.5, variance=4.0), LEVELS_B)
    expected_B = torch.special.log_ndtr(-(LEVELS_B - 0.5) / 2)
    torch.testing.assert_close(found.log_p_BD[:, 0], expected_B, rtol=1e-3, atol=1e-4)
    assert not found.is_clamped_D.any()


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 0.0), (2.0, 1.0), (1.5, -0.9)])
def test_a_normal_inverse_gaussian_law_is_found_again_from_its_cumulants(alpha, beta):
    distribution = norminvgauss(alpha, beta, loc=0.3, scale=2.0)
    mean, variance, skewness, kurtosis = (float(each) for each in distribution.stats("mvsk"))
    found = tail(law(mean, variance, skewness * variance**1.5, kurtosis * variance**2), LEVELS_B)
    expected_B = torch.tensor([float(distribution.sf(level)) for level in LEVELS_B])
    torch.testing.assert_close(found.log_p_BD[:, 0].exp(), expected_B, rtol=1e-4, atol=1e-12, check_dtype=False)


def test_cumulants_that_no_law_has_are_marked_and_still_give_a_probability():
    found = tail(law(third=1.0, fourth=0.1), LEVELS_B)
    assert bool(found.is_clamped_D[0])
    p_B = found.log_p_BD[:, 0].exp()
    assert bool(((p_B > 0) & (p_B <= 1)).all())
    assert bool((p_B.diff() < 0).all())


@pytest.mark.parametrize("third", [-0.8, -0.3, 0.0, 0.3, 0.8])
@pytest.mark.parametrize("fourth", [-0.5, 0.0, 0.3, 2.0])
def test_tails_are_probabilities_and_fall_whatever_the_cumulants(third, fourth):
    p_B = tail(law(third=third, fourth=fourth), torch.linspace(-8, 8, 65, dtype=torch.float64)).log_p_BD[:, 0].exp()
    assert bool(((p_B >= 0) & (p_B <= 1)).all())
    assert bool((p_B.diff() <= 1e-12).all())


def test_the_series_leaves_the_probabilities_where_the_law_does_not():
    skewed = law(third=-0.5, fourth=0.1)
    levels_B = torch.tensor([2.5], dtype=torch.float64)
    assert float(edgeworth(skewed, levels_B)[0, 0]) < 0
    assert 0 < float(tail(skewed, levels_B).log_p_BD.exp()[0, 0]) < 0.01


def test_thresholds_of_one_normal_neuron_are_exact():
    network = Network((Dense(torch.tensor([[3.0, 4.0]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)),))
    found = threshold_probability(network, 11.0)
    torch.testing.assert_close(
        found.p_D, torch.special.ndtr(torch.tensor([-2.0], dtype=torch.float64)), rtol=1e-3, atol=0
    )
    assert float(found.indicator_D[0]) < 1e-3


def test_thresholds_agree_with_long_sampling_and_beat_the_order_below():
    network = random_network(width=64, n_hidden=2, seed=0, is_linear_last=True)
    truth = long_sample(network, 2**17, seed=1, thresholds=(3.0,))
    true_D = truth.shares_2BD[:, 0].mean(0)
    found = threshold_probability(network, 3.0)
    often_D = true_D * truth.n > 200
    assert int(often_D.sum()) > 20
    off_D = (found.p_D / true_D - 1)[often_D].abs()
    assert float(off_D.median()) < 0.1
    below_D = (found.log_p_D.exp() * torch.exp(-found.indicator_D) / true_D - 1)[often_D].abs()
    assert float(off_D.median()) < float(below_D.median())


def test_relu_at_the_end_has_the_same_event_from_zero_on():
    network = random_network(width=16, n_hidden=2, seed=0)
    linear = Network((*network.layers[:-1], Dense(network.layers[-1].W_DI, network.layers[-1].b_D)))
    torch.testing.assert_close(threshold_probability(network, 1.0).p_D, threshold_probability(linear, 1.0).p_D)


def test_a_torch_model_is_taken_as_it_is():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    assert threshold_probability(model, 1.0).p_D.shape == (2,)


@pytest.mark.parametrize(
    ("network", "threshold", "named"),
    [
        (small("gelu"), 1.0, "the last layer is gelu"),
        (small("relu"), -0.5, "ReLU with a threshold from 0 on"),
        (small("identity"), math.nan, "expected a finite number"),
    ],
)
def test_events_that_a_tail_does_not_describe_are_refused(network, threshold, named):
    with pytest.raises(ConfigError, match=named):
        threshold_probability(network, threshold)


def test_shapes_are_checked():
    with pytest.raises(TypeCheckError):
        tail(law(), torch.zeros(2, 2))
