"""The round metric: the covariance of normal shifts, and of heavy-tailed ones too, up to a factor."""

import pytest
import torch

from bathyscope.evaluation.identifiability.roundness import whitener

MIX_MM = torch.randn(4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def cloud(law, n_pairs=4000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    normal_PM = torch.randn(n_pairs, 4, generator=generator, dtype=torch.float64)
    size_P1 = (2 * torch.randn(n_pairs, 1, generator=generator, dtype=torch.float64)).exp()
    return ((size_P1 if law == "heavy tails" else 1) * normal_PM) @ MIX_MM + 3


def crookedness(W_MK):
    """Ratio of the longest to the shortest axis that is left of the true ellipse."""
    values = torch.linalg.svdvals(MIX_MM @ W_MK)
    return float(values.max() / values.min())


@pytest.mark.parametrize("law", ["normal", "heavy tails"])
def test_the_true_ellipse_becomes_round_whatever_the_tails(law):
    assert crookedness(whitener(cloud(law))) < 1.12


def test_a_sample_covariance_would_not_do():
    y_PM = cloud("heavy tails")
    value_M, vector_MM = torch.linalg.eigh(torch.cov(y_PM.T))
    assert crookedness(vector_MM / value_M.sqrt()) > 1.3


def test_directions_without_variance_are_left_out():
    y_PM = torch.cat([cloud("normal"), torch.ones(4000, 2)], dim=1)
    W_MK = whitener(y_PM)
    assert W_MK.shape == (6, 4) and bool(W_MK.isfinite().all())
