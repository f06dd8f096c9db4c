"""Matching columns with concepts: by hand, in any order, in rectangles, in blocks."""

import math

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.identifiability.matching import block_mcc, correlations, match_concepts


def changes(n=6, n_pairs=3000, seed=0):
    return torch.randn(n_pairs, n, generator=torch.Generator().manual_seed(seed))


def test_order_sign_scale_and_offset_cost_nothing():
    changes_PC = changes()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    codes_PF = changes_PC[:, order] * torch.tensor([-2.0, 1, 3, -1, 0.1, 7]) + 5
    found = match_concepts(codes_PF, changes_PC)
    assert found.mcc == pytest.approx(1)
    assert [int(order[c]) for c in found.column_C] == list(range(6))


def test_the_assignment_is_one_to_one_and_best():
    changes_PC = changes(2)
    both_P = changes_PC.sum(1, keepdim=True)
    codes_PF = torch.cat([both_P, changes_PC[:, :1]], dim=1)
    found = match_concepts(codes_PF, changes_PC)
    assert found.column_C.tolist() == [1, 0]
    assert found.mcc == pytest.approx((1 + 1 / math.sqrt(2)) / 2, abs=0.02)


def test_missing_columns_count_zero_and_surplus_ones_nothing():
    changes_PC = changes()
    few = match_concepts(changes_PC[:, :3], changes_PC)
    assert few.mcc == pytest.approx(0.5, abs=1e-6) and few.column_C.tolist()[:3] == [0, 1, 2]
    assert set(few.column_C.tolist()[3:]) == {-1}
    many = match_concepts(torch.cat([changes(9, seed=5), changes_PC], dim=1), changes_PC)
    assert many.mcc == pytest.approx(1) and many.column_C.tolist() == list(range(9, 15))


def test_what_never_varies_correlates_with_nothing():
    changes_PC = changes(2)
    codes_PF = torch.cat([torch.full((3000, 1), 3.3), changes_PC[:, :1]], dim=1)
    assert float(abs(correlations(codes_PF, changes_PC)[0]).max()) == 0
    assert match_concepts(codes_PF, changes_PC).correlation_C.tolist() == pytest.approx([1, 0])


def test_a_rotation_inside_a_block_is_right_as_a_block_only():
    changes_PC = changes()
    turn_33 = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(4))).Q
    codes_PF = torch.cat([changes_PC[:, 3:], changes_PC[:, :3] @ turn_33], dim=1)
    blocks = [[0, 1, 2], [3], [4], [5]]
    assert match_concepts(codes_PF, changes_PC).mcc < 0.95
    assert block_mcc(codes_PF, changes_PC, blocks).tolist() == pytest.approx([1] * 6, abs=1e-6)


def test_a_rotation_across_blocks_is_wrong_as_blocks_too():
    changes_PC = changes()
    turn_66 = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(4))).Q
    assert float(block_mcc(changes_PC @ turn_66, changes_PC, [[0, 1, 2], [3, 4, 5]]).mean()) < 0.95


def test_blocks_of_one_are_the_mcc():
    changes_PC, codes_PF = changes(), changes(seed=7)
    codes_PF[:, 0] += changes_PC[:, 2]
    single = [[c] for c in range(6)]
    assert float(block_mcc(codes_PF, changes_PC, single).mean()) == pytest.approx(
        match_concepts(codes_PF, changes_PC).mcc
    )


def test_blocks_without_enough_columns_count_zero():
    changes_PC = changes()
    found_C = block_mcc(changes_PC[:, :3], changes_PC, [[0, 1, 2], [3, 4, 5]])
    assert found_C.tolist() == pytest.approx([1, 1, 1, 0, 0, 0], abs=0.1)


def test_blocks_that_forget_a_concept_are_refused():
    with pytest.raises(ConfigError, match="each of 6 concepts once"):
        block_mcc(changes(), changes(), [[0, 1, 2]])
