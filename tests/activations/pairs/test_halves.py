"""Halves: no group in both, every change in both, about equally large, decided by the seed."""

import numpy as np
import pytest

from bathyscope.activations.pairs.draw import draw_pairs
from bathyscope.activations.pairs.halves import halve
from bathyscope.activations.pairs.sets import TemplatePairs
from bathyscope.errors import ConfigError


def test_halves_share_no_group_and_miss_no_pair():
    pairs = TemplatePairs(template="binary").draw(n=120, seed=0)
    halves = halve(pairs.groups, pairs.support, seed=1)
    groups = [{pairs.groups[i] for i in half} for half in halves]
    assert not groups[0] & groups[1]
    assert sorted([*halves.choose, *halves.report]) == list(range(120))
    assert abs(len(halves.choose) - len(halves.report)) < 30
    texts = [{side for i in half for side in pairs.pairs[i].sides} for half in halves]
    assert not texts[0] & texts[1], "a text belongs to one person, and a person to one half"


def test_every_change_that_occurs_in_two_groups_occurs_in_both_halves():
    support = np.array([[1, 0]] * 20 + [[0, 1]] * 2 + [[1, 1]] * 20, dtype=np.int8)
    groups = [f"g{i}" for i in range(42)]
    for seed in range(20):
        halves = halve(groups, support, seed=seed)
        assert all({tuple(support[i]) for i in half} == {(1, 0), (0, 1), (1, 1)} for half in halves)


def test_a_seed_decides_and_another_seed_decides_otherwise():
    groups, support = [f"g{i // 2}" for i in range(60)], np.zeros((60, 1), np.int8)
    one, again, other = (halve(groups, support, seed=seed) for seed in (0, 0, 1))
    assert (one.choose == again.choose).all() and (one.report == again.report).all()
    assert set(one.choose) != set(other.choose)


def test_one_large_group_does_not_tip_the_halves():
    groups = ["large"] * 50 + [f"g{i}" for i in range(50)]
    halves = halve(groups, np.zeros((100, 1), np.int8), seed=0)
    assert sorted(map(len, halves)) == [50, 50]


def test_a_single_group_cannot_be_halved():
    with pytest.raises(ConfigError, match="all 3 pairs belong to one group"):
        halve(["g"] * 3, np.zeros((3, 1), np.int8), seed=0)


def test_categories_meet_in_both_halves_but_their_texts_do_not():
    pairs = draw_pairs(TemplatePairs(template="categories")._open()[0], n=120, seed=0)
    halves = halve(pairs.groups, pairs.support, seed=0)
    texts = [{side for i in half for side in pairs.pairs[i].sides} for half in halves]
    assert not texts[0] & texts[1]
