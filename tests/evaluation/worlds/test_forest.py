"""Frequencies that follow from trees filled in order of rank."""

import dataclasses

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.forest import breadth_first, chosen_alone, forest, stretched_zipf
from bathyscope.evaluation.worlds.settings import SYNTH_SAE_BENCH_16K, WorldSettings
from bathyscope.evaluation.worlds.world import World

GROVE = WorldSettings(
    n_true=64,
    d_model=32,
    law="forest",
    l0=None,
    min_frequency=0.01,
    n_roots=4,
    branching=3,
    depth=2,
    correlation_rank=4,
)


def test_synthsaebench_has_the_published_l0_as_a_whole_and_in_its_first_4096_features():
    found = forest(SYNTH_SAE_BENCH_16K)
    assert float(found.frequencies_G.sum()) == pytest.approx(34, abs=1)
    assert float(found.frequencies_G[:4096].sum()) == pytest.approx(25, abs=0.5)
    assert int((found.parents_G >= 0).sum()) == 128 * (4 + 16 + 64)


def test_the_base_law_runs_from_the_highest_to_the_lowest_frequency():
    base_G = stretched_zipf(GROVE)
    assert float(base_G[0]) == pytest.approx(0.4) and float(base_G[-1]) == pytest.approx(0.01)
    assert bool((base_G.diff() < 0).all())


def test_trees_are_filled_in_order_of_rank_until_features_run_out():
    parents_G = breadth_first(GROVE)
    assert parents_G[:4].tolist() == [-1] * 4
    assert parents_G[4:10].tolist() == [0, 0, 0, 1, 1, 1]
    assert parents_G[16:22].tolist() == [4, 4, 4, 5, 5, 5]
    assert parents_G[16 + 36 :].tolist() == [-1] * (64 - 52)
    few = dataclasses.replace(GROVE, n_true=8, min_frequency=0.1)
    assert breadth_first(few).tolist() == [-1, -1, -1, -1, 0, 0, 0, 1]


def test_one_of_those_that_ask_is_drawn_with_equal_chance():
    asks_C = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)
    by_hand = 0.9 * (0.5 * 0.8 + (0.5 * 0.8 + 0.5 * 0.2) / 2 + 0.5 * 0.2 / 3)
    found_C = chosen_alone(asks_C)
    assert float(found_C[0]) == pytest.approx(by_hand)
    assert float(found_C.sum()) == pytest.approx(1 - 0.1 * 0.5 * 0.8)


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_world_of_trees_fires_as_often_as_it_says(exclusive):
    world = World(dataclasses.replace(GROVE, exclusive=exclusive))
    fires_NG = world.sample(40_000, generator=torch.Generator().manual_seed(0)).amounts_NG > 0
    share_G = fires_NG.float().mean(0)
    assert float((share_G - world.frequencies_G).abs().max()) < 0.012
    children = (world.parents_G >= 0).nonzero()[:, 0]
    assert not bool((fires_NG[:, children] & ~fires_NG[:, world.parents_G[children]]).any())


@pytest.mark.parametrize("settings", [{"law": "forest"}, {"l0": None}])
def test_a_law_takes_l0_or_gives_it(settings):
    with pytest.raises(ConfigError, match="does not go with l0"):
        WorldSettings(**settings)
