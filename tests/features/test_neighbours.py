"""Neighbours against dense matrices."""

import numpy as np
import pytest
import torch

from bathyscope.features import neighbours
from bathyscope.features.neighbours import (
    cofiring_neighbours,
    cofiring_neighbours_plain,
    decoder_neighbours,
    nearest_units,
)


def pairs(found) -> dict[tuple[int, int], float]:
    return {
        (f, int(g)): float(score)
        for f in range(len(found.features))
        for g, score in zip(found.features[f], found.scores[f], strict=True)
        if g >= 0
    }


@pytest.mark.parametrize("chunk", [1, 100, 1 << 24])
def test_decoder_neighbours_are_the_largest_cosines_without_the_feature_itself(monkeypatch, chunk):
    monkeypatch.setattr(neighbours, "CHUNK_COSINES", chunk)
    W = torch.randn(30, 8, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 9, 30)[:, None]
    found = decoder_neighbours(W, n=5)
    cosines = (W / W.norm(dim=1, keepdim=True)).numpy()
    cosines = cosines @ cosines.T
    np.fill_diagonal(cosines, -2)
    assert np.array_equal(found.features, np.argsort(-cosines, axis=1)[:, :5])
    assert np.allclose(found.scores, -np.sort(-cosines, axis=1)[:, :5], atol=1e-6)


def test_fewer_features_than_neighbours_leave_empty_places():
    found = decoder_neighbours(torch.eye(3), n=5)
    assert (found.features >= 0).sum(1).tolist() == [2, 2, 2]
    assert (found.scores == 0).all()


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("chunk", [1, 5_000, 1 << 24])
def test_cosines_compared_once_give_the_reference(monkeypatch, chunk, n_threads):
    monkeypatch.setattr(neighbours, "CHUNK_COSINES", chunk)
    units = torch.nn.functional.normalize(torch.randn(700, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    wanted, before = nearest_units(units, n=6), torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        found = decoder_neighbours(units, n=6)
    finally:
        torch.set_num_threads(before)
    assert np.allclose(found.scores, wanted.scores, atol=1e-6) and (np.diff(found.scores) <= 0).all()
    assert (found.features != wanted.features).mean() < 0.01, "but for cosines that rounding cannot tell apart"
    assert (found.features != np.arange(700)[:, None]).all()


def test_of_equal_cosines_the_lower_number_goes_first(monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK_COSINES", 1)
    found = decoder_neighbours(torch.eye(4).repeat(3, 1), n=5)
    assert found.features[5].tolist() == [1, 9, 0, 2, 3] and found.scores[5].tolist() == [1, 1, 0, 0, 0]


@pytest.fixture
def fires_NF() -> np.ndarray:
    rng = np.random.default_rng(2)
    fires = rng.random((300, 12)) < 0.15
    fires[:, 1] = fires[:, 0] & (rng.random(300) < 0.8)
    fires[:, 2], fires[:, 3] = True, False
    return fires


def cofiring(fires_NF: np.ndarray, n: int):
    _, features = np.nonzero(fires_NF)
    return cofiring_neighbours(features.astype(np.int32), fires_NF.sum(1), n_features=fires_NF.shape[1], n=n)


def test_cofiring_is_the_correlation_of_firing(fires_NF):
    found = cofiring(fires_NF, n=11)
    alive = [f for f in range(12) if f not in (2, 3)]
    phi = np.corrcoef(fires_NF[:, alive].T.astype(float))
    for i, f in enumerate(alive):
        wanted = {alive[j]: phi[i, j] for j in range(len(alive)) if j != i and phi[i, j] > 0}
        shared = {g for g in wanted if (fires_NF[:, f] & fires_NF[:, g]).any()}
        assert set(found.features[f][found.features[f] >= 0].tolist()) == shared == set(wanted)
        assert np.allclose(found.scores[f][: len(wanted)], sorted(wanted.values(), reverse=True), atol=1e-6)
    assert found.features[0, 0] == 1


def test_features_that_always_or_never_fire_have_no_cofiring(fires_NF):
    found = cofiring(fires_NF, n=11)
    assert (found.features[[2, 3]] == -1).all()
    assert not np.isin(found.features, [2, 3]).any()


def test_scores_are_symmetric(fires_NF):
    together = pairs(cofiring(fires_NF, n=11))
    assert together
    assert all(together[(g, f)] == score for (f, g), score in together.items())
    W = torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
    near = pairs(decoder_neighbours(W, n=19))
    assert all(abs(near[(g, f)] - score) < 1e-6 for (f, g), score in near.items())


def test_a_short_list_is_the_head_of_the_long_one_also_among_many_candidates():
    rng = np.random.default_rng(3)
    fires = rng.random((50, 200)) < 0.2
    short, long = cofiring(fires, n=3), cofiring(fires, n=150)
    assert np.array_equal(short.features, long.features[:, :3])


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("density", [0.0, 0.005, 0.1, 0.6])
def test_the_compiled_pass_gives_the_reference_bit_for_bit(density, n_threads):
    rng = np.random.default_rng(4)
    fires = rng.random((400, 700)) < density * rng.random(700)
    fires[:, 20], fires[:, 21], fires[:, 22] = True, False, fires[:, 23]
    _, features = np.nonzero(fires)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        found, wanted = (
            count(features.astype(np.int32), fires.sum(1), n_features=700, n=10)
            for count in (cofiring_neighbours, cofiring_neighbours_plain)
        )
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found.features, wanted.features) and np.array_equal(found.scores, wanted.scores)
    assert (density == 0) == (wanted.features < 0).all()


def test_no_tokens_and_no_features_have_no_neighbours():
    nothing = np.empty(0, np.int32)
    assert (cofiring_neighbours(nothing, np.empty(0, np.int64), n_features=3, n=2).features == -1).all()
    assert cofiring_neighbours(nothing, np.zeros(5, np.int64), n_features=0, n=2).features.shape == (0, 2)
