"""The recovery bench on a tiny world: what it writes, that it resumes, and that its figures can tell good from bad."""

import dataclasses
import math

import pytest

from bathyscope.artifacts import verify
from bathyscope.dictionaries.frozen import Frozen
from bathyscope.errors import ConfigError, DeviceError
from bathyscope.evaluation import recovery_bench
from bathyscope.evaluation.entrants import NULL, chosen
from bathyscope.evaluation.intervals import over_runs
from bathyscope.evaluation.recovery_bench import SYNTH_SAE_BENCH, RecoveryBench, bench_recovery, sparsity
from bathyscope.evaluation.scores import Score
from bathyscope.evaluation.worlds.settings import SMALL, WORLDS
from bathyscope.evaluation.worlds.world import World

TINY = RecoveryBench(
    world="small", kinds=("batchtopk", "relu"), n_features=32, n_tokens=12_000, seeds=(0, 1), test_tokens=2000
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[tuple[str, str], Score]:
    out = tmp_path_factory.mktemp("bench") / "scores"
    found = bench_recovery(TINY, out=out)
    verify(out)
    assert (out / "table.md").read_text().count("\n| ") == 4 + 2 + 1
    return {(row.subject, row.metric): row for row in found}


def test_every_kind_stands_beside_its_null_and_both_bounds(rows):
    assert {subject for subject, _ in rows} == {
        "batchtopk",
        "batchtopk-frozen",
        "relu",
        "relu-frozen",
        "linear oracle",
        "random dictionary",
    }
    row = rows["batchtopk", "f1"]
    assert (row.n, row.unit, row.split) == (2, "seeds", "fresh activations")
    assert row.low < row.value < row.high


def test_learning_beats_the_null_and_the_ceiling_beats_learning(rows):
    for figure in ("f1", "mcc", "variance_explained"):
        assert rows["batchtopk", figure].value > rows["batchtopk-frozen", figure].value
    assert rows["linear oracle", "f1"].value > rows["batchtopk", "f1"].value
    assert rows["random dictionary", "beyond_chance"].value + 0.1 < rows["batchtopk", "beyond_chance"].value


def test_an_interrupted_bench_goes_on_with_the_seed_that_is_missing(tmp_path, monkeypatch):
    ran: list[int] = []

    def in_this_process(function, runs, *, stage):
        for run in runs:
            ran.append(run.seed)
            if len(ran) == 2:
                raise KeyboardInterrupt
            yield run, function(run)

    monkeypatch.setattr(recovery_bench, "side_by_side", in_this_process)
    with pytest.raises(KeyboardInterrupt):
        bench_recovery(TINY, out=tmp_path / "resumed")
    bench_recovery(TINY, out=tmp_path / "resumed")
    assert ran == [0, 1, 1]
    ran[:] = [9] * 5
    bench_recovery(TINY, out=tmp_path / "straight")
    assert verify(tmp_path / "resumed").digest == verify(tmp_path / "straight").digest


def test_k_is_how_many_of_the_most_frequent_features_fire_at_once():
    world = World(SMALL)
    assert sparsity(TINY, world) == round(float(world.frequencies_G[:32].sum()))
    assert sparsity(SYNTH_SAE_BENCH, world) == 25


def test_every_entrant_takes_size_and_sparsity():
    for kind in chosen((), n_features=64, k=7, with_nulls=False).values():
        assert kind.n_features == 64
        assert 7 in (getattr(kind, "k", None), getattr(kind, "l0", None))
    found = chosen(("topk",), n_features=64, k=7, with_nulls=True)
    assert list(found) == ["topk", f"topk-{NULL}"]
    null = found[f"topk-{NULL}"]
    assert isinstance(null, Frozen) and null.part == "decoder" and null.of == found["topk"]


def test_the_large_world_is_that_of_the_paper():
    assert SYNTH_SAE_BENCH.n_tokens == 200_000_000 and SYNTH_SAE_BENCH.n_features == 4096
    world = WORLDS[SYNTH_SAE_BENCH.world]
    assert (world.n_true, world.d_model, world.zipf, world.law) == (16_384, 768, 0.5, "forest")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"kinds": ("wavelet",)}, "no entrant named 'wavelet'; expected some of: matryoshka"),
        ({"seeds": ()}, "seeds at least one"),
        ({"seeds": (1, 1)}, "repeat"),
        ({"n_features": 5000}, "5000 features in a world of 1024"),
        ({"n_tokens": 0}, "at least 1"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, line):
    with pytest.raises(ConfigError, match=line):
        RecoveryBench(**settings)


def test_a_device_that_is_not_there_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(DeviceError, match="'bogus' cannot be used"):
        bench_recovery(dataclasses.replace(TINY, device="bogus"), out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_interval_over_runs_is_students():
    found = over_runs([1.0, 2.0, 3.0])
    assert found.value == 2 and found.n == 3
    assert (found.high - found.value) == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)
    assert math.isinf(over_runs([1.0]).high)
