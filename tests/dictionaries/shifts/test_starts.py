"""Starts: they reconstruct everything; peaked ones find sparse concepts whose directions are far from orthogonal."""

import pytest
import torch
from dictionaries.shifts.sparse_shifts import mcc, sparse_shifts

from bathyscope.dictionaries.shifts.columns import measure
from bathyscope.dictionaries.shifts.frame import frame_of
from bathyscope.dictionaries.shifts.starts import peaked, rotation, starts

SHIFTS_PD, CHANGES_PC, _ = sparse_shifts(n=6, d=6)


def begun(kind, metric, n_restarts=2, shifts_PD=SHIFTS_PD):
    frame = frame_of(shifts_PD, n_columns=6, metric=metric)
    y_PM = frame.coordinates(shifts_PD)
    generator = torch.Generator().manual_seed(0)
    return frame, y_PM, starts(y_PM, frame, kind=kind, n_restarts=n_restarts, generator=generator)


@pytest.mark.parametrize("metric", ["whitened", "plain"])
@pytest.mark.parametrize("kind", ["peaked", "random"])
def test_a_start_reconstructs_everything_with_unit_rows(kind, metric):
    frame, y_PM, columns = begun(kind, metric)
    torch.testing.assert_close(columns.B_RCM.norm(dim=2), torch.ones(2, 6))
    assert measure(columns, y_PM, frame).explained_R.tolist() == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize("metric", ["whitened", "plain"])
def test_peaked_starts_are_near_the_concepts_and_random_ones_are_not(metric):
    _, y_PM, columns = begun("peaked", metric)
    assert min(mcc(y_PM @ E_MC, CHANGES_PC) for E_MC in columns.E_RMC) > 0.97
    _, y_PM, columns = begun("random", metric)
    assert max(mcc(y_PM @ E_MC, CHANGES_PC) for E_MC in columns.E_RMC) < 0.85


def test_starts_do_not_agree_where_there_is_nothing_to_find():
    normal_PD = torch.randn(2000, 6, generator=torch.Generator().manual_seed(1))
    _, y_PM, columns = begun("peaked", "whitened", shifts_PD=normal_PD)
    assert mcc(y_PM @ columns.E_RMC[0], y_PM @ columns.E_RMC[1]) < 0.9


def test_tied_starts_are_those_of_the_paper():
    _, _, columns = begun("tied", "plain")
    torch.testing.assert_close(columns.E_RMC, columns.B_RCM.transpose(1, 2))
    torch.testing.assert_close(columns.B_RCM.norm(dim=2), torch.ones(2, 6))


@pytest.mark.parametrize("by", ["fourth", "tanh"])
def test_a_fixed_point_is_a_rotation_and_stays(by):
    _, y_PM, _ = begun("random", "whitened")
    turn_MM = peaked(y_PM, rotation(torch.randn(6, 6, generator=torch.Generator().manual_seed(3))), by=by)
    torch.testing.assert_close(turn_MM.T @ turn_MM, torch.eye(6), atol=1e-4, rtol=0)
    again_MM = peaked(y_PM, turn_MM, by=by)
    assert float((again_MM * turn_MM).sum(0).abs().min()) > 0.999


def test_other_seeds_begin_elsewhere_and_the_same_seed_alike():
    first, second = begun("random", "whitened")[2], begun("random", "whitened")[2]
    assert torch.equal(first.E_RMC, second.E_RMC)
    assert not torch.equal(first.E_RMC[0], first.E_RMC[1])
