"""How far the model's next token moves: the exact shift takes the whole step, nothing takes none."""

import numpy as np
import pytest
import torch
from tiny import tiny_model

from bathyscope.activations.pairs.collect import PairSettings, collect_pairs
from bathyscope.activations.pairs.sets import pair_set
from bathyscope.evaluation.single_changes.outputs import divergence
from bathyscope.evaluation.single_changes.turned import Turned


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def one_pair(store, hookpoint: str, *, is_turned: bool) -> Turned:
    before_D, after_D = store.both(hookpoint)[3].double().flip(0) if is_turned else store.both(hookpoint)[3].double()
    return Turned(before_D[None], after_D[None], np.zeros(1, dtype=int), np.array([3]), np.array([is_turned]))


@pytest.mark.parametrize("is_turned", [False, True])
def test_the_exact_shift_behind_the_last_layer_removes_all_divergence(model, tmp_path, is_turned):
    store = collect_pairs(model, pair_set("lang", n=10), out=tmp_path / "pairs", hookpoint="layers.2")
    half = one_pair(store, "layers.2", is_turned=is_turned)
    found = divergence(model, store, half, half.shifts_PD[0], hookpoint="layers.2")
    assert found.plain_P[0] > 1e-4, "the two sides are told apart"
    assert found.moved_P[0] == pytest.approx(0, abs=1e-6)


def test_adding_nothing_changes_nothing_and_a_mean_moves_every_token_behind_the_shared_prefix(model, tmp_path):
    settings = PairSettings(position="mean")
    store = collect_pairs(
        model, pair_set("lang", n=10), out=tmp_path / "pairs", hookpoint="layers.0", settings=settings
    )
    half = one_pair(store, "layers.0", is_turned=False)
    still = divergence(model, store, half, torch.zeros(store.d_model()), hookpoint="layers.0")
    np.testing.assert_allclose(still.moved_P, still.plain_P)
    moved = divergence(model, store, half, half.shifts_PD[0], hookpoint="layers.0")
    assert abs(moved.moved_P[0] - still.plain_P[0]) > 1e-6
