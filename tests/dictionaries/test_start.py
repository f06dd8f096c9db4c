"""Starts: directions, biases and scales."""

import pytest
import torch

from bathyscope.dictionaries import start


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_encoder_starts_as_a_copy_of_the_decoder_not_as_the_same_tensor():
    W_enc_FD, W_dec_FD = start.tied_start(9, 4, norm=0.1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(W_enc_FD, W_dec_FD)
    assert W_enc_FD.data_ptr() != W_dec_FD.data_ptr()
    torch.testing.assert_close(W_dec_FD.norm(dim=1), torch.full((9,), 0.1))


def test_the_geometric_median_of_a_square_is_its_centre():
    corners = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    torch.testing.assert_close(start.geometric_median(corners), torch.tensor([1.0, 1.0]))


def test_the_geometric_median_on_a_line_is_the_median():
    points = torch.tensor([[0.0], [1], [2], [3], [1000]])
    torch.testing.assert_close(start.geometric_median(points), torch.tensor([2.0]), atol=1e-2, rtol=0)


def test_the_geometric_median_is_not_drawn_away_by_sinks():
    x_ND = draw(500, 8)
    x_ND[::50] += 1000
    assert start.geometric_median(x_ND).norm() < 0.5
    assert start.bias_start(x_ND, "mean").norm() > 30


def test_no_point_makes_the_sum_of_distances_smaller():
    x_ND = draw(300, 5) ** 3 + 2
    median_D = start.geometric_median(x_ND)
    least = (x_ND - median_D).norm(dim=1).sum()
    for seed in range(20):
        assert (x_ND - median_D - 0.05 * draw(5, seed=seed)).norm(dim=1).sum() > least


@pytest.mark.parametrize(("name", "wanted"), [("zero", [0.0, 0.0]), ("mean", [1.0, 2.0])])
def test_bias_starts(name, wanted):
    assert start.bias_start(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), name).tolist() == wanted


def test_scales_give_unit_second_moment_and_unit_variance_per_dimension():
    x_ND = 7 * draw(5000, 16) + 3
    second = start.unit_second_moment(x_ND) * x_ND
    assert float(second.square().sum(1).mean()) == pytest.approx(16, rel=1e-5)
    spread = start.unit_variance(x_ND) * x_ND
    assert float((spread - spread.mean(0)).square().sum(1).mean()) == pytest.approx(16, rel=1e-5)


def test_activations_without_spread_are_left_as_they_are():
    assert start.unit_second_moment(torch.zeros(4, 3)) == 1
    assert start.unit_variance(torch.full((4, 3), 2.5)) == 1
