"""The chance of a match, against simulation."""

import pytest
import torch

from bathyscope.evaluation.chance import false_discoveries, match_probability


@pytest.mark.parametrize(("n_true", "d_model"), [(1, 8), (20, 16), (200, 32)])
def test_matches_of_random_directions_have_uniform_probabilities(n_true, d_model):
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize
    best_F = torch.empty(4000)
    for row in range(len(best_F)):
        truth_GD = unit(torch.randn(n_true, d_model, generator=generator), dim=1)
        best_F[row] = (truth_GD @ unit(torch.randn(d_model, generator=generator), dim=0)).abs().max()
    p_F = match_probability(best_F, n_true=n_true, d_model=d_model)
    for level in (0.05, 0.25, 0.5, 0.9):
        assert float((p_F <= level).float().mean()) == pytest.approx(level, abs=0.03)


def test_a_perfect_match_is_no_chance_and_an_orthogonal_one_is():
    p_F = match_probability(torch.tensor([1.0, 0.0, 0.5]), n_true=1000, d_model=384)
    assert float(p_F[0]) < 1e-12 and float(p_F[1]) == pytest.approx(1) and float(p_F[2]) < 1e-6


def test_probabilities_fall_as_matches_get_better():
    p_F = match_probability(torch.linspace(0, 1, 50), n_true=64, d_model=32)
    assert bool((p_F[1:] <= p_F[:-1] + 1e-15).all())


def test_few_claims_are_false_and_true_ones_are_kept():
    generator = torch.Generator().manual_seed(0)
    p_F = torch.cat([torch.rand(900, generator=generator), 1e-6 * torch.rand(100, generator=generator)])
    kept = ~false_discoveries(p_F)
    assert int(kept[900:].sum()) == 100
    assert int(kept[:900].sum()) <= 15


def test_nothing_is_kept_of_noise_and_nothing_given_up_of_certainty():
    noise = torch.linspace(0.06, 1, 100)
    assert bool(false_discoveries(noise).all())
    assert not bool(false_discoveries(torch.zeros(5)).any())
    assert false_discoveries(torch.empty(0)).shape == (0,)
