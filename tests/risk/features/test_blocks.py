"""Blocks: those that go together, of the size asked for."""

import torch

from bathyscope.dictionaries.codes import Codes
from bathyscope.risk.features.blocks import correlated_blocks


def planted() -> Codes:
    """Features 0 and 3 always fire together, 1 and 4 mostly, 2 and 5 alone."""
    generator = torch.Generator().manual_seed(0)
    codes_NF = torch.rand(500, 6, generator=generator) * (torch.rand(500, 6, generator=generator) < 0.3)
    codes_NF[:, 3] = 2 * codes_NF[:, 0]
    mostly_N = torch.rand(500, generator=generator) < 0.8
    codes_NF[:, 4] = torch.where(mostly_N, codes_NF[:, 1], codes_NF[:, 4])
    return Codes.from_dense(codes_NF)


def test_features_that_go_together_are_paired():
    assert sorted(correlated_blocks(planted(), 2)) == [[0, 3], [1, 4], [2], [5]]


def test_size_1_leaves_each_alone():
    assert correlated_blocks(planted(), 1) == [[f] for f in range(6)]


def test_every_feature_is_in_one_block_no_larger_than_asked():
    chained_NF = torch.rand(300, 1, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 8.0)
    blocks = correlated_blocks(Codes.from_dense(chained_NF), 3)
    assert sorted(feature for block in blocks for feature in block) == list(range(7))
    assert max(map(len, blocks)) == 3


def test_features_that_exclude_each_other_are_paired_too():
    fires_N = torch.rand(400, generator=torch.Generator().manual_seed(0)) < 0.3
    codes_NF = torch.stack([fires_N, ~fires_N, torch.arange(400) % 3 == 0], dim=1).float()
    assert sorted(correlated_blocks(Codes.from_dense(codes_NF), 2)) == [[0, 1], [2]]


def test_the_codes_stay_as_they_are():
    codes = planted()
    values_NK, indices_NK = codes.values_NK.clone(), codes.indices_NK.clone()
    correlated_blocks(codes, 2)
    assert torch.equal(codes.values_NK, values_NK)
    assert torch.equal(codes.indices_NK, indices_NK)
