"""Collapse: codes whose loss of latents is known."""

import pytest
import torch

from bathyscope.dictionaries.collapse import collapse


def independent(n: int = 4000, z: int = 4) -> torch.Tensor:
    return torch.randn(n, z, generator=torch.Generator().manual_seed(0))


def test_independent_latents_are_all_there():
    found = collapse(3 * independent())
    assert not found.is_collapsed and (found.n_silent, found.n_copies) == (0, 0)
    assert found.effective_rank == pytest.approx(4, abs=0.02) and found.spread == pytest.approx(3, rel=0.1)


def test_copies_and_silent_latents_are_counted():
    codes = independent()
    codes[:, 2] = -2 * codes[:, 0] + 5
    codes[:, 3] = 1.0
    found = collapse(codes)
    assert (found.n_silent, found.n_copies) == (1, 1) and found.is_collapsed
    assert found.effective_rank == pytest.approx(3 / 2 ** (2 / 3), rel=0.02), "eigenvalues 2 and 1 of 3"


def test_a_shrunken_code_shows_in_its_spread_alone():
    found = collapse(1e-6 * independent())
    assert found.spread < 1e-5 and found.n_copies == 0 and found.effective_rank == pytest.approx(4, abs=0.02)


def test_a_constant_code_has_nothing_left():
    found = collapse(torch.ones(50, 3))
    assert found.n_silent == 3 and found.effective_rank == 0 and found.is_collapsed
