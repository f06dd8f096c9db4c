"""Each stage's parts by hand, and how they grow."""

import dataclasses

import pytest
from planning.rates import ROUND

from bathyscope.dictionaries import size
from bathyscope.planning.layout import Layout, splits
from bathyscope.planning.shape import ModelShape
from bathyscope.planning.sizes import Sizes
from bathyscope.planning.stages import collect, index, risk, train
from bathyscope.planning.work import total_flops, total_seconds

SHAPE = ModelShape(name="small", d_model=8, n_layers=3, n_heads=2, n_key_heads=1, d_head=4, d_mlp=10, n_vocabulary=50)
SIZES = Sizes(
    shape=SHAPE,
    depth=2,
    n_places=1,
    n_features=64,
    k=4,
    n_tokens=1000,
    epochs=2,
    context=16,
    stored_bytes=2,
    n_indexed=100,
    forwards=10,
    prompt_tokens=5,
)
ALONE = Layout(
    batch_size=100,
    data_parallel=1,
    feature_parallel=1,
    compute="float32",
    keeps_activations=True,
    buffer_bytes=10**6,
)
STAGES = (collect, train, index, risk)


def amounts(stage, sizes: Sizes = SIZES, layout: Layout = ALONE) -> dict[str, float]:
    return {part.name: part.amount for part in stage.parts(sizes, layout, ROUND)}


def test_collecting_is_the_forward_of_two_blocks_and_the_rows_written():
    assert amounts(collect) == {
        "text tokenised": 1000,
        "forward: products": 1000 * 2 * (2 * 432 + 4 * 16 * 8),
        "forward: between products": 1000 * 2 * (40 * 8 + 5 * 10) * 4,
        "rows written": 1000 * (8 * 2 + 26),
        "rows summed": 1000 * (8 * 2 + 26),
    }
    assert collect.disk_bytes(SIZES) == 1000 * (8 * 2 + 26)


def test_a_step_is_dense_in_the_encoder_alone():
    found = amounts(train)
    n_steps = 2000 / 100
    assert found["step: encoder product"] == n_steps * 2 * 100 * 8 * 64
    assert found["step: largest found"] == n_steps * 100 * 64 * 4
    assert found["step: kept pairs"] == n_steps * 4 * 100 * 4 * 8 * 4
    assert found["step: rows of the batch"] == n_steps * 100 * 8 * 4
    assert found["step: weights and Adam"] == n_steps * 11.5 * 2 * 64 * 8 * 4
    assert found["step: fixed"] == n_steps
    assert "step: sums between devices" not in found


def test_training_reads_its_rows_once_and_writes_one_checkpoint_when_it_is_short():
    found = amounts(train)
    assert found["rows read"] == found["sums of the store compared"] == 1000 * 8 * 2
    assert found["checkpoints"] == size.kept_bytes(64, 8)
    assert found["dictionary written"] == found["dictionary summed"] == size.weight_bytes(64, 8)
    assert found["survey: product"] == 2 * 1000 * 8 * 64
    assert found["start: scale and bias"] == 8 * 8 * (10 * 1000 + 2 * 50 * 1000)


def test_training_without_kept_activations_runs_the_model_in_every_epoch():
    fly = dataclasses.replace(ALONE, keeps_activations=False)
    found = amounts(train, layout=fly)
    assert found["forward: products"] == 2 * amounts(collect)["forward: products"]
    assert "rows read" not in found
    assert train.memory_bytes(SIZES, fly) - train.memory_bytes(SIZES, ALONE) == SHAPE.n_parameters * 4 - 1000 * 8 * 2


def test_an_index_compares_every_pair_of_features_and_of_directions_with_tokens():
    found = amounts(index)
    assert found["encode: product"] == 2 * 100 * 8 * 64
    assert found["codes written"] == found["codes sorted by feature"] == 100 * 4 * 8
    assert found["neighbours: product"] == 64 * 64 * 8
    assert amounts(index, layout=dataclasses.replace(ALONE, device="cuda"))["neighbours: product"] == 2 * 64 * 64 * 8
    assert found["neighbours: nearest"] == 64 * 64 * 4
    assert found["neighbours: firing together"] == 100 * 16 * 24
    assert found["logits: product"] == 2 * 64 * 50 * 8
    assert found["examples"] == 64
    assert found["text and vocabulary"] == 100 + 50


def test_near_misses_fill_their_places_first_and_get_in_ever_more_rarely():
    assert index.near_bytes(32 * 10, 7) == 12 * 10 * 7, "ten windows all get in"
    assert index.near_bytes(32 * 20, 7) == 12 * 20 * 7
    once, twice = index.near_bytes(32 * 400, 1), index.near_bytes(32 * 800, 1)
    assert twice - once == pytest.approx(12 * 20 * 0.6931, rel=1e-3), "ln 2 more for twice the text"


def test_a_risk_estimate_is_forwards_of_whole_inputs_with_logits_behind_the_last_token():
    found = amounts(risk)
    assert found["forward: products"] == 10 * 5 * 3 * (2 * 432 + 4 * 5 * 8)
    assert found["logits: product"] == 10 * 2 * 50 * 8
    assert found["logits: event"] == 10 * 4 * 50 * 8


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "field", ["n_features", "k", "n_tokens", "epochs", "context", "depth", "n_places", "n_indexed", "forwards"]
)
def test_nothing_gets_cheaper_when_there_is_more_of_it(stage, field):
    more = dataclasses.replace(SIZES, **{field: getattr(SIZES, field) * 2 if field != "depth" else 3})
    assert total_seconds(stage.parts(more, ALONE, ROUND)) >= total_seconds(stage.parts(SIZES, ALONE, ROUND))
    assert stage.memory_bytes(more, ALONE) >= stage.memory_bytes(SIZES, ALONE)


@pytest.mark.parametrize("stage", STAGES)
def test_work_is_divided_among_devices(stage):
    four = dataclasses.replace(ALONE, data_parallel=2, feature_parallel=2)
    assert 4 * total_flops(stage.parts(SIZES, four, ROUND)) == pytest.approx(
        total_flops(stage.parts(SIZES, ALONE, ROUND))
    )


def test_features_in_parallel_share_the_weights_rows_in_parallel_do_not():
    alone = train.memory_bytes(SIZES, ALONE)
    by_rows = train.memory_bytes(SIZES, dataclasses.replace(ALONE, data_parallel=4))
    by_features = train.memory_bytes(SIZES, dataclasses.replace(ALONE, feature_parallel=4))
    assert by_features < alone and by_rows < alone
    assert alone - by_rows == 75 * (6 * 8 * 4 + 4 * 40 + 64 * 4), "rows, pairs and pre-activations alone"
    saved = size.kept_bytes(64, 8) + size.weight_bytes(64, 8)
    assert alone - by_features == 3 * saved // 4 + 100 * 48 * 4, "weights, averages, gradients, pre-activations"


def test_devices_tell_each_other_gradients_or_rows_and_candidates():
    sent = {
        split: amounts(train, layout=dataclasses.replace(ALONE, data_parallel=split[0], feature_parallel=split[1]))
        for split in [(2, 1), (1, 2)]
    }
    assert sent[2, 1]["step: sums between devices"] == 20 * size.weight_bytes(64, 8)
    assert sent[1, 2]["step: sums between devices"] == 20 * (100 * 8 * 4 + 100 * 4 * 8)


def test_half_the_bytes_of_numbers_halve_what_is_passed_over():
    half = dataclasses.replace(ALONE, compute="bfloat16")
    assert (
        2 * amounts(collect, layout=half)["forward: between products"] == amounts(collect)["forward: between products"]
    )
    copies = size.weight_bytes(64, 8) // 2
    assert train.memory_bytes(SIZES, half) - train.memory_bytes(SIZES, ALONE) == copies


def test_splits_of_devices_are_powers_of_two_of_features():
    assert splits(1) == [(1, 1)]
    assert splits(6) == [(6, 1), (3, 2)]
    assert splits(8) == [(8, 1), (4, 2), (2, 4), (1, 8)]
