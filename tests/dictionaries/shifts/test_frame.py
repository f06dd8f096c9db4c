"""Frames: coordinates lose nothing, units are what the metric says, and ranks are counted."""

import pytest
import torch
from dictionaries.shifts.sparse_shifts import sparse_shifts

from bathyscope.dictionaries.shifts.frame import frame_of
from bathyscope.errors import ConfigError

SHIFTS_PD, _, DIRECTIONS_CD = sparse_shifts()


@pytest.mark.parametrize("metric", ["whitened", "plain"])
@pytest.mark.parametrize("n_pairs", [2000, 7])
def test_coordinates_hold_shifts_of_their_span_exactly(metric, n_pairs):
    shifts_PD = SHIFTS_PD[:n_pairs]
    frame, rank = frame_of(shifts_PD, n_columns=5, metric=metric), int(torch.linalg.matrix_rank(shifts_PD))
    assert frame.rank == rank and frame.explained == pytest.approx(1)
    back_PD = (frame.coordinates(shifts_PD).double() * frame.unit_M) @ frame.basis_MD
    torch.testing.assert_close(back_PD.float(), shifts_PD, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(frame.basis_MD @ frame.basis_MD.T, torch.eye(rank, dtype=torch.float64))


def test_whitened_coordinates_have_second_moment_one():
    frame = frame_of(SHIFTS_PD, n_columns=5, metric="whitened")
    y_PM = frame.coordinates(SHIFTS_PD)
    torch.testing.assert_close(y_PM.T @ y_PM / len(y_PM), torch.eye(5), atol=1e-4, rtol=0)
    plain = frame_of(SHIFTS_PD, n_columns=5, metric="plain")
    y_PM = plain.whiten(plain.coordinates(SHIFTS_PD))
    torch.testing.assert_close(y_PM.T @ y_PM / len(y_PM), torch.eye(5), atol=1e-4, rtol=0)


def test_plain_coordinates_keep_lengths_up_to_one_factor():
    frame = frame_of(SHIFTS_PD, n_columns=5, metric="plain")
    ratio_P = frame.coordinates(SHIFTS_PD).norm(dim=1) / SHIFTS_PD.norm(dim=1)
    torch.testing.assert_close(ratio_P, ratio_P[:1].expand_as(ratio_P), rtol=1e-3, atol=0)


def test_fewer_columns_than_directions_keep_the_largest():
    frame = frame_of(SHIFTS_PD, n_columns=3, metric="whitened")
    wide_PD = SHIFTS_PD.double()
    values_D = torch.linalg.eigvalsh(wide_PD.T @ wide_PD / len(wide_PD)).flip(0)
    assert frame.explained == pytest.approx(float(values_D[:3].sum() / values_D.sum()))
    assert frame.rank == 5 and len(frame.unit_M) == 3


def test_rows_and_encoders_mean_the_same_map_outside_the_frame():
    frame = frame_of(SHIFTS_PD, n_columns=5, metric="whitened")
    E_MC, B_CM = torch.randn(5, 5), torch.randn(5, 5)
    inside_PM = frame.coordinates(SHIFTS_PD) @ E_MC @ B_CM
    outside_PD = SHIFTS_PD.double() @ frame.encoder(E_MC) @ frame.rows(B_CM)
    torch.testing.assert_close(outside_PD, (inside_PM.double() * frame.unit_M) @ frame.basis_MD, rtol=1e-3, atol=1e-3)


def test_a_concept_that_always_changes_alike_survives_unless_the_mean_is_taken_off():
    shifts_PD = SHIFTS_PD + 5 * torch.ones(8)
    assert frame_of(shifts_PD, n_columns=8, metric="whitened").rank == 6
    assert frame_of(shifts_PD, n_columns=8, metric="whitened", centre=True).rank == 5


def test_the_effective_rank_is_that_of_equal_directions():
    assert frame_of(torch.eye(4).repeat(5, 1), n_columns=4, metric="plain").effective_rank == pytest.approx(4)
    assert frame_of(torch.ones(9, 4), n_columns=4, metric="plain").effective_rank == pytest.approx(1)


def test_shifts_that_are_only_a_mean_cannot_be_centred():
    with pytest.raises(ConfigError, match="equal once their mean is taken off"):
        frame_of(torch.ones(9, 4), n_columns=4, metric="plain", centre=True)
