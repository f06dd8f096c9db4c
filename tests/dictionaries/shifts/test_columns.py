"""Figures of restarts by their definitions, best encoders, and agreement."""

import math

import pytest
import torch
from dictionaries.shifts.sparse_shifts import sparse_shifts

from bathyscope.dictionaries.shifts.columns import Columns, agreement, matched_rows, measure, refitted, unit_rows
from bathyscope.dictionaries.shifts.frame import frame_of

SHIFTS_PD, _, _ = sparse_shifts()
FRAME = frame_of(SHIFTS_PD, n_columns=4, metric="whitened")  # one direction is left out
Y_PM = FRAME.coordinates(SHIFTS_PD)


def random_columns(n_restarts=2) -> Columns:
    generator = torch.Generator().manual_seed(2)
    E_RMC, B_RCM = (torch.randn(n_restarts, 4, 4, generator=generator) for _ in range(2))
    return unit_rows(E_RMC, B_RCM)


def test_figures_are_those_of_a_hand_computation_on_the_shifts_themselves():
    columns = random_columns()
    found = measure(columns, Y_PM, FRAME)
    for r in range(2):
        codes_PC = SHIFTS_PD.double() @ FRAME.encoder(columns.E_RMC[r])
        left_PD = SHIFTS_PD.double() - codes_PC @ FRAME.rows(columns.B_RCM[r])
        explained = 1 - float(left_PD.square().sum() / SHIFTS_PD.double().square().sum())
        assert float(found.explained_R[r]) == pytest.approx(explained, rel=1e-3)
        assert float(found.l1_R[r]) == pytest.approx(float(codes_PC.abs().sum(1).mean()), rel=1e-4)


def test_unit_rows_keep_the_map():
    generator = torch.Generator().manual_seed(3)
    E_RMC, B_RCM = (torch.randn(1, 4, 4, generator=generator) for _ in range(2))
    columns = unit_rows(E_RMC, B_RCM)
    torch.testing.assert_close(columns.E_RMC @ columns.B_RCM, E_RMC @ B_RCM)
    torch.testing.assert_close(columns.B_RCM.norm(dim=2), torch.ones(1, 4))


def test_the_best_encoder_of_independent_rows_reconstructs_the_whole_frame():
    columns = refitted(random_columns())
    assert measure(columns, Y_PM, FRAME).explained_R.tolist() == pytest.approx([FRAME.explained] * 2, abs=1e-4)


def test_agreement_knows_neither_order_nor_sign():
    B_CM = random_columns(1).B_RCM[0]
    order = torch.tensor([2, 0, 3, 1])
    turned_CM = (B_CM * torch.tensor([1, -1, 1, -1])[:, None])[order]
    same = unit_rows(torch.zeros(2, 4, 4), torch.stack([B_CM, turned_CM]))
    assert agreement(same, FRAME) == pytest.approx(1)
    assert agreement(random_columns(3), FRAME) < 0.95
    assert math.isnan(agreement(random_columns(1), FRAME))


def test_rectangular_sets_are_matched_as_far_as_they_go():
    a_CD = torch.eye(3, dtype=torch.float64)
    assert matched_rows(a_CD, -a_CD[[2, 0]]).tolist() == [1, 1]
