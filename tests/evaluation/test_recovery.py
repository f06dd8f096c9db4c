"""Recovery: figures of dictionaries whose relation to the truth is built by hand."""

import dataclasses
import math

import pytest
import torch

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above, Largest, LargestAbsolute
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.recovery import mean_matched_cosine, recovery
from bathyscope.evaluation.worlds.oracle import best_threshold, linear_oracle
from bathyscope.evaluation.worlds.settings import SMALL
from bathyscope.evaluation.worlds.world import World

ROOMY = dataclasses.replace(SMALL, n_true=48, d_model=64, orthogonal_steps=300)
"""More dimensions than features: directions can be orthogonal, so a tied encoder reads every feature exactly."""


@pytest.fixture(scope="module")
def world() -> World:
    world = World(ROOMY)
    world.directions_GD = torch.linalg.qr(world.directions_GD.T).Q.T.contiguous()
    return world


def tied(world: World, rows_FD: torch.Tensor, *, threshold: float = 1.0) -> Dictionary:
    rows_FD = torch.nn.functional.normalize(rows_FD, dim=1)
    weights = Weights(
        W_enc=rows_FD.T.contiguous(),
        b_enc=torch.zeros(len(rows_FD)),
        W_dec=rows_FD,
        b_dec=world.offset_D,
        threshold=torch.full((len(rows_FD),), threshold),
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=True)


def test_the_truth_recovers_itself(world):
    found = recovery(tied(world, world.directions_GD, threshold=1e-3), world, n_tokens=4000)
    assert found.f1 == pytest.approx(1, abs=1e-6) and found.precision == found.recall == pytest.approx(1, abs=1e-6)
    assert found.mcc == pytest.approx(1, abs=1e-4) and found.uniqueness == 1
    assert found.variance_explained == pytest.approx(1, abs=1e-5)
    assert found.beyond_chance == 1 and found.splitting == 0 and found.dead == 0
    assert found.hedging == pytest.approx(0, abs=1e-6)
    assert found.absorption == pytest.approx(0, abs=1e-6)


def test_f1_is_that_of_a_hand_computation(world):
    rows_FD = world.directions_GD[:10] + 0.7 * world.directions_GD[20:30]
    dictionary = tied(world, rows_FD, threshold=2.0)
    x_ND, amounts_NG, _ = world.sample(4000, generator=torch.Generator().manual_seed(0))
    fires = dictionary.encode(x_ND).dense() != 0
    scores = []
    for f in range(10):
        truth = amounts_NG[:, f] > 0
        hits = int((fires[:, f] & truth).sum())
        scores.append(2 * hits / (int(fires[:, f].sum()) + int(truth.sum())))
    found = recovery(dictionary, world, n_tokens=20_000)
    assert found.f1 == pytest.approx(sum(scores) / 10, abs=0.03)
    assert 0.2 < found.f1 < 0.95


def test_two_latents_of_one_feature_are_a_split_and_cost_uniqueness(world):
    generator = torch.Generator().manual_seed(0)
    twins = world.directions_GD[:4].repeat(2, 1) + 0.2 * torch.randn(8, 64, generator=generator) / 8
    found = recovery(tied(world, twins), world, n_tokens=2000)
    assert found.uniqueness == 0.5 and found.splitting == 1
    alone = recovery(tied(world, world.directions_GD[:4]), world, n_tokens=2000)
    assert alone.uniqueness == 1 and alone.splitting == 0


def test_a_parent_that_keeps_silent_for_its_child_is_absorbed(world):
    child = int((world.parents_G >= 0).nonzero()[0])
    parent = int(world.parents_G[child])
    honest = tied(world, world.directions_GD, threshold=0.5)
    assert recovery(honest, world, n_tokens=20_000).absorption == pytest.approx(0, abs=0.01)
    W_enc = honest.W_enc.clone()
    W_enc[:, parent] -= 20 * world.directions_GD[child]
    absorbed = dataclasses.replace(honest, weights=dataclasses.replace(honest.weights, W_enc=W_enc))
    n_pairs = int((world.parents_G >= 0).sum())
    assert recovery(absorbed, world, n_tokens=20_000).absorption == pytest.approx(1 / n_pairs, rel=0.15)


def test_a_latent_that_mixes_parent_and_child_hedges(world):
    child = int((world.parents_G >= 0).nonzero()[0])
    parent = int(world.parents_G[child])
    rows_FD = world.directions_GD.clone()
    rows_FD[parent] += 0.5 * world.directions_GD[child]
    relatives = [g for g in range(48) if int(world.parents_G[g]) >= 0 or bool((world.parents_G == g).any())]
    found = recovery(tied(world, rows_FD), world, n_tokens=500)
    assert found.hedging == pytest.approx(0.25 / 1.25 / len(relatives), rel=0.05)


def test_negative_codes_count_as_firing(world):
    positive = tied(world, world.directions_GD[:6])
    found = {}
    for sign in (1, -1):
        weights = dataclasses.replace(positive.weights, W_dec=sign * positive.W_dec, W_enc=sign * positive.W_enc)
        signed = dataclasses.replace(positive, weights=weights, rule=LargestAbsolute(k=2))
        found[sign] = recovery(signed, world, n_tokens=500)
    assert (found[1].f1, found[1].l0, found[1].recall) == (found[-1].f1, found[-1].l0, found[-1].recall)
    assert found[-1].mcc == pytest.approx(1, abs=1e-4) and found[-1].recall > 0.9


def test_variance_explained_is_that_of_a_hand_computation(world):
    dictionary = tied(world, world.directions_GD[:20])
    generator = torch.Generator().manual_seed(5)
    x_ND = world.sample(30_000, generator=generator).x_ND
    error = (x_ND - dictionary.reconstruct(x_ND)).double().square().sum()
    wanted = 1 - float(error / (x_ND - x_ND.mean(0)).double().square().sum())
    assert recovery(dictionary, world, n_tokens=30_000).variance_explained == pytest.approx(wanted, abs=0.01)


def test_a_random_dictionary_is_no_better_than_chance(world):
    x_ND = world.sample(2000, generator=torch.Generator().manual_seed(0)).x_ND
    like = tied(world, world.directions_GD)
    found = recovery(random_dictionary(like, x_ND, k=3, seed=0), world, n_tokens=2000)
    assert found.beyond_chance <= 0.05 and found.f1 < 0.5 and found.mcc < 0.5


def test_features_that_never_fire_count_as_dead_with_f1_of_zero(world):
    found = recovery(tied(world, world.directions_GD[:5], threshold=1e6), world, n_tokens=1000)
    assert found.dead == 1 and found.f1 == 0 and found.l0 == 0
    assert math.isnan(found.absorption) or found.absorption == 0


def test_the_assignment_is_one_to_one():
    cosines_FG = torch.tensor([[0.9, 0.8, 0.0], [0.85, 0.1, 0.0]])
    assert mean_matched_cosine(cosines_FG) == pytest.approx((0.8 + 0.85) / 2)
    assert mean_matched_cosine(-cosines_FG) == pytest.approx((0.8 + 0.85) / 2)


def test_another_width_is_refused(world):
    rows_FD = torch.eye(8)
    weights = Weights(W_enc=rows_FD, b_enc=torch.zeros(8), W_dec=rows_FD, b_dec=torch.zeros(8))
    with pytest.raises(ConfigError, match="reads width 8, the world has width 64"):
        recovery(Dictionary(weights=weights, rule=Largest(k=1), subtract_b_dec=False), world)


def test_the_oracle_beats_a_plain_readout_of_the_truth():
    crowded = World(SMALL)
    oracle = linear_oracle(crowded, n_features=32, n_tokens=20_000)
    plain = tied(crowded, crowded.directions_GD[:32], threshold=2.0)
    best, other = recovery(oracle, crowded), recovery(plain, crowded)
    assert best.f1 > other.f1 + 0.01 and best.mcc == pytest.approx(1, abs=1e-5)


def test_the_best_threshold_is_found():
    score_N = torch.tensor([0.1, 0.9, 0.8, 0.3, 0.7])
    assert 0.3 < float(best_threshold(score_N, torch.tensor([False, True, True, False, True]))) < 0.7
    assert float(best_threshold(score_N, torch.zeros(5, dtype=torch.bool))) == math.inf
