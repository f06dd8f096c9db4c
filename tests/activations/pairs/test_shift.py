"""Shifts: the right sign, matrices refused, what stands still said by name."""

import pytest
import torch

from bathyscope.activations.pairs.shift import differences, shift_warnings, sink_warnings
from bathyscope.errors import ConfigError


def test_a_shift_is_after_minus_before():
    z_P2D = torch.tensor([[[1.0, 2.0], [4.0, 2.0]]])
    assert differences(z_P2D).tolist() == [[3.0, 0.0]]


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 4), (2, 6, 4, 1), (4,)])
def test_only_stacked_sides_are_pairs(shape):
    with pytest.raises(ConfigError, match=r"expected \[P, 2, D\]"):
        differences(torch.zeros(shape))


def test_a_matrix_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match=r"stack both sides: torch.stack\(\[z, z_tilde\], 1\)"):
        differences(torch.zeros(6, 4))


def test_what_stands_still_is_said_by_name():
    shifts = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert shift_warnings(shifts, where="layers.1") == []
    shifts[:, 2] = 0.5
    assert shift_warnings(shifts, where="layers.1") == [
        "layers.1: 1 of 4 columns of the shifts are constant, such as column 2"
    ]
    shifts[7] = 0
    shifts[:, 2] = torch.randn(50)
    shifts[7] = 0
    assert shift_warnings(shifts, where="layers.1") == ["layers.1: 1 of 50 pairs do not move"]
    assert "all shifts are equal" in shift_warnings(torch.ones(5, 4), where="x")[0]
    assert shift_warnings(shifts[:3], where="x") == ["x: 3 pairs in 4 dimensions: shifts span at most 3"]


def test_shifts_that_are_all_zero_are_refused():
    with pytest.raises(ConfigError, match=r"layers.0: every shift is zero"):
        shift_warnings(torch.zeros(5, 4), where="layers.0")


def test_vectors_that_are_far_too_long_are_counted():
    z_P2D = torch.ones(20, 2, 4)
    assert sink_warnings(z_P2D, multiple=10.0, where="x") == []
    z_P2D[3, 1] *= 11
    assert sink_warnings(z_P2D, multiple=10.0, where="x") == [
        "x: 1 of 40 vectors are 10 times longer than usual (attention sinks?)"
    ]
    assert sink_warnings(z_P2D, multiple=0.0, where="x") == []
