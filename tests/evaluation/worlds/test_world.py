"""Worlds: their laws hold in samples, and nothing that learns can know them beforehand."""

import dataclasses

import pytest
import torch

from bathyscope.dictionaries.start import tied_start
from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.directions import spread_directions
from bathyscope.evaluation.worlds.frequencies import ROOM, parents, zipf_frequencies
from bathyscope.evaluation.worlds.settings import REFERENCE, SMALL, WorldSettings
from bathyscope.evaluation.worlds.world import Sample, World


@pytest.fixture(scope="module")
def world() -> World:
    return World(SMALL)


@pytest.fixture(scope="module")
def sample(world: World) -> Sample:
    return world.sample(40_000, generator=torch.Generator().manual_seed(1))


RARE = dataclasses.replace(REFERENCE, n_true=4096, d_model=64, min_frequency=2e-3)


@pytest.mark.parametrize("settings", [SMALL, REFERENCE, RARE], ids=["small", "reference", "rare"])
def test_frequencies_are_zipfian_and_add_up_to_l0(settings):
    p_G = zipf_frequencies(settings)
    assert float(p_G.sum()) == pytest.approx(settings.l0, rel=1e-6)
    assert bool((p_G[1:] <= p_G[:-1]).all())
    assert settings.min_frequency <= float(p_G.min()) and float(p_G.max()) <= settings.max_frequency
    inner = (p_G > settings.min_frequency * 1.001) & (p_G < settings.max_frequency * 0.999)
    first, last = (int(i) for i in inner.nonzero()[:, 0][[0, -1]])
    assert float(p_G[first] / p_G[last]) == pytest.approx(((last + 1) / (first + 1)) ** settings.zipf, rel=1e-6)


def test_features_fire_as_often_as_their_frequency_says(world, sample):
    share_G = (sample.amounts_NG > 0).float().mean(0)
    spread_G = (world.frequencies_G * (1 - world.frequencies_G) / len(sample.x_ND)).sqrt()
    assert float(((share_G - world.frequencies_G) / spread_G).abs().max()) < 5
    assert float((sample.amounts_NG > 0).sum(1).float().mean()) == pytest.approx(SMALL.l0, rel=0.02)


def test_a_child_fires_only_with_its_parent(world, sample):
    fires_NG = sample.amounts_NG > 0
    children = (world.parents_G >= 0).nonzero()[:, 0]
    assert len(children) >= 8
    assert not bool((fires_NG[:, children] & ~fires_NG[:, world.parents_G[children]]).any())


def test_at_most_one_child_fires_when_children_exclude_each_other(world, sample):
    fires_NG = (sample.amounts_NG > 0).int()
    for parent in world.parents_G[world.parents_G >= 0].unique().tolist():
        assert int(fires_NG[:, world.parents_G == parent].sum(1).max()) <= 1


def test_children_may_overlap_when_they_do_not_exclude_each_other():
    settings = dataclasses.replace(SMALL, exclusive=False)
    world = World(settings)
    fires_NG = world.sample(20_000, generator=torch.Generator().manual_seed(0)).amounts_NG > 0
    parents_G = world.parents_G[world.parents_G >= 0]
    most = max(int(fires_NG[:, world.parents_G == p].sum(1).max()) for p in parents_G.unique().tolist())
    assert most > 1
    share_G = fires_NG.float().mean(0)
    assert float((share_G - world.frequencies_G).abs().max()) < 0.02


def test_a_parent_has_room_for_its_children():
    p_G = zipf_frequencies(REFERENCE)
    parents_G = parents(p_G, REFERENCE, generator=torch.Generator().manual_seed(0))
    taken = {}
    for child, parent in enumerate(parents_G.tolist()):
        if parent >= 0:
            taken.setdefault(parent, []).append(float(p_G[child]))
    assert len(taken) > 50
    assert all(len(shares) <= REFERENCE.branching for shares in taken.values())
    assert all(sum(shares) <= ROOM * float(p_G[parent]) + 1e-9 for parent, shares in taken.items())


def test_activations_are_what_their_amounts_say(world, sample):
    rebuilt_ND = sample.amounts_NG @ world.directions_GD + world.offset_D
    torch.testing.assert_close(sample.x_ND, rebuilt_ND, rtol=1e-4, atol=1e-4)


def test_noise_is_added_where_it_is_asked_for():
    noisy = World(dataclasses.replace(SMALL, noise=0.5))
    found = noisy.sample(20_000, generator=torch.Generator().manual_seed(1))
    rest_ND = found.x_ND - (found.amounts_NG @ noisy.directions_GD + noisy.offset_D)
    assert float(rest_ND.std()) == pytest.approx(0.5, rel=0.02)


def test_hidden_causes_make_features_fire_together():
    def excess(correlation: float) -> float:
        """How much more often than by chance pairs with a strong common cause fire together."""
        settings = dataclasses.replace(SMALL, n_roots=0, correlation_rank=4, correlation=correlation)
        world = World(settings)
        fires_NG = (world.sample(40_000, generator=torch.Generator().manual_seed(2)).amounts_NG > 0).double()
        p_G = fires_NG.mean(0)
        together = fires_NG.T @ fires_NG / len(fires_NG) / torch.outer(p_G, p_G)
        cause = world._causes_GR @ world._causes_GR.T
        strong = cause.fill_diagonal_(0) > 0.5 * cause.max()
        return float(together[strong].mean())

    assert excess(0.4) > 1.5
    assert excess(1e-6) == pytest.approx(1, abs=0.1)


def test_circles_lie_in_their_planes_at_the_angle_that_is_given():
    world = World(dataclasses.replace(SMALL, n_manifolds=3, manifold_frequency=0.3))
    found = world.sample(5000, generator=torch.Generator().manual_seed(0))
    rest_ND = found.x_ND - (found.amounts_NG @ world.directions_GD + world.offset_D)
    only = found.angles_NM.isfinite().sum(1) == 1
    number_N = found.angles_NM.isfinite().float().argmax(1)
    angle_N = found.angles_NM.nan_to_num().sum(1)
    wanted_N2 = SMALL.amount_first * torch.stack([angle_N.cos(), angle_N.sin()], dim=1)
    wanted_ND = torch.einsum("nk,nkd->nd", wanted_N2, world.planes_M2D[number_N])
    assert int(only.sum()) > 500
    torch.testing.assert_close(rest_ND[only], wanted_ND[only], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(world.planes_M2D @ world.planes_M2D.mT, torch.eye(2).expand(3, 2, 2))


def test_a_child_has_more_where_its_parent_has_more(world, sample):
    child = int((world.parents_G >= 0).nonzero()[0])
    parent = int(world.parents_G[child])
    both = sample.amounts_NG[:, child] > 0
    pair_2N = sample.amounts_NG[both][:, [child, parent]].T
    assert float(torch.corrcoef(pair_2N)[0, 1]) > 0.3


def test_steps_bring_directions_apart():
    draw = torch.Generator().manual_seed(0)
    random_GD = spread_directions(96, 32, n_steps=0, generator=draw)
    spread_GD = spread_directions(96, 32, n_steps=60, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spread_GD.norm(dim=1), torch.ones(96))

    def closest(rows_GD: torch.Tensor) -> float:
        return float((rows_GD @ rows_GD.T).fill_diagonal_(0).abs().amax(1).mean())

    assert closest(spread_GD) < 0.75 * closest(random_GD)


def test_a_dictionary_with_the_same_seed_does_not_start_at_the_truth():
    for seed in (0, 1):
        truth_GD = World(SMALL, seed=seed).directions_GD
        generator = torch.Generator().manual_seed(seed)
        start_FD = tied_start(SMALL.n_true, SMALL.d_model, norm=1.0, generator=generator).W_dec_FD
        assert float((start_FD @ truth_GD.T).diagonal().abs().mean()) < 0.4
        assert float((start_FD @ truth_GD.T).abs().max()) < 0.8


def test_the_same_seed_gives_the_same_world_and_batches():
    one, two, other = World(SMALL, seed=3), World(SMALL, seed=3), World(SMALL, seed=4)
    assert torch.equal(one.directions_GD, two.directions_GD) and torch.equal(one.parents_G, two.parents_G)
    assert not torch.equal(one.directions_GD, other.directions_GD)
    stream = one.batches(1000, batch_size=300, seed=7)
    first, second = list(stream), list(two.batches(1000, batch_size=300, seed=7))
    assert [len(x) for x in first] == [300, 300, 300, 100]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first, stream, strict=True)), "a second pass is the same"
    assert not torch.equal(first[0], next(iter(one.batches(1000, batch_size=300, seed=8))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l0": 60.0}, "cannot give l0"),
        ({"n_true": 0}, "n_true"),
        ({"max_frequency": 1.5}, "frequencies"),
        ({"n_roots": 100}, "n_roots"),
        ({"correlation": 0.9}, "hidden causes"),
        ({"noise": -1.0}, "negative"),
    ],
)
def test_worlds_that_cannot_be_are_refused_by_name(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SMALL, **change)


def test_the_reference_world_is_as_large_as_promised():
    assert isinstance(REFERENCE, WorldSettings)
    assert REFERENCE.n_true >= 1024 and REFERENCE.d_model >= 256 and 20 <= REFERENCE.l0 <= 30
    assert REFERENCE.zipf > 0 and REFERENCE.correlation > 0 and REFERENCE.n_roots > 0
