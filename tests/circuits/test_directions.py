"""Directions read off activations: hand computations."""

import pytest
import torch

from bathyscope.circuits.directions import difference_of_means, most_correlated, spanned
from bathyscope.circuits.subspace import Site
from bathyscope.errors import ConfigError


def test_the_difference_of_means_is_that_of_each_position():
    x = torch.tensor([[[0.0, 1.0], [5.0, 0.0]], [[2.0, 1.0], [5.0, 0.0]], [[4.0, 1.0], [5.0, 3.0]]])
    found = difference_of_means(x, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(found, torch.tensor([[3.0, 0.0], [0.0, 3.0]]))
    with pytest.raises(ConfigError, match="all labels are equal"):
        difference_of_means(x, torch.tensor([1, 1, 1]))


def test_columns_are_ranked_by_correlation_whatever_its_sign_and_scale():
    label = torch.tensor([0.0, 1.0, 0.0, 1.0])
    codes = torch.stack([torch.tensor([0.0, 1.0, 1.0, 1.0]), -100 * label, torch.full((4,), 7.0), label + 3], dim=1)
    assert set(most_correlated(codes, label, n=2).tolist()) == {1, 3}
    assert most_correlated(codes, label, n=4).tolist()[2:] == [0, 2], "a constant column comes last"
    with pytest.raises(ConfigError, match="5 of 4 columns"):
        most_correlated(codes, label, n=5)


def test_directions_that_depend_on_each_other_span_nothing():
    site = Site("h.0", (0,))
    plane = spanned(site, torch.tensor([[[1.0, 1.0, 0.0], [0.0, 2.0, 0.0]]])).basis_QRD[0]
    torch.testing.assert_close(plane.T @ plane, torch.diag(torch.tensor([1.0, 1.0, 0.0])), rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="depend on each other"):
        spanned(site, torch.tensor([[[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]]]))
    with pytest.raises(ConfigError, match="are zero or depend"):
        spanned(site, torch.zeros(1, 1, 3))
