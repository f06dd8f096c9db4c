"""Losses on codes of pairs: hand computations, and what each of them wrongly likes."""

import math

import pytest
import torch

from bathyscope.dictionaries.pair_losses import contrast, known_targets_loss, sparse_change, standardised


def test_known_targets_cost_nothing_for_the_right_shift_and_one_for_a_constant_code():
    before = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    offset = torch.zeros(50, 3)
    offset[:, 1] = 0.7
    assert float(known_targets_loss(before, before + offset, offset)) == pytest.approx(0, abs=1e-12)
    assert float(known_targets_loss(before, before, offset)) == pytest.approx(1)
    assert float(known_targets_loss(before, before - offset, offset)) == pytest.approx(4)


def test_sparse_change_adds_up_what_changed():
    before = torch.zeros(2, 3)
    after = torch.tensor([[1.0, 0.0, -2.0], [0.0, 0.0, 0.0]])
    assert float(sparse_change(before, after)) == 1.5


def test_a_mixed_code_changes_more_than_one_that_separates_the_factors():
    change = torch.zeros(40, 2)
    change[torch.arange(40), torch.arange(40) % 2] = 1.0
    rotated = change @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    assert float(sparse_change(torch.zeros(40, 2), rotated)) == pytest.approx(1.4)
    assert float(sparse_change(torch.zeros(40, 2), change)) == 1.0


def test_the_contrast_of_a_constant_code_is_log_of_the_batch_and_falls_with_spread():
    codes = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    assert float(contrast(torch.zeros(32, 4), torch.zeros(32, 4), temperature=0.5)) == pytest.approx(math.log(32))
    near, wide = (float(contrast(scale * codes, scale * codes, temperature=0.5)) for scale in (0.3, 3.0))
    assert wide < 0.05 < near < math.log(32)
    copies = codes[:, :1].expand(32, 4)
    assert float(contrast(copies, copies, temperature=0.5)) > wide, "copies of one latent tell fewer images apart"


def test_standardised_codes_have_unit_variance_over_both_sides_and_shrinking_gains_nothing():
    before, after = 1e-3 * torch.randn(2, 64, 3, generator=torch.Generator().manual_seed(0)) + 4
    both = torch.cat(standardised(before, after))
    torch.testing.assert_close(both.mean(0), torch.zeros(3), rtol=0, atol=1e-3)
    large = sparse_change(*standardised(1000 * before, 1000 * after))
    small = sparse_change(*standardised(before, after))
    assert float(small) == pytest.approx(float(large), rel=0.02)
    assert float(sparse_change(before, after)) < 0.01 < float(small)
