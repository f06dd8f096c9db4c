"""Pairs in a folder: right rows, whole provenance, resumed to the same bytes, refused in one line."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from activations.pairs.small_pairs import FACTORS, TEXTS, pair, pair_set
from safetensors.torch import load_file, save_file
from tiny import tiny_model

from activations.small_store import refit_sums  # isort: skip
from bathyscope.activations.pairs import collect as module
from bathyscope.activations.pairs.collect import PairSettings, collect_pairs
from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.activations.pairs.reading import read_batch
from bathyscope.activations.pairs.store import PairStore
from bathyscope.artifacts import verify
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.models.hooks import run

HOOKPOINTS = ["layers.1", "layers.0.mlp.up_proj"]
SETTINGS = PairSettings(batch_tokens=64, max_tokens=100)


def make(out, pairs: PairSet = TEXTS, **changes) -> PairStore:
    settings = dataclasses.replace(SETTINGS, **changes)
    return collect_pairs(tiny_model(), pairs, out=out, hookpoint=HOOKPOINTS, settings=settings)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PairStore:
    return make(tmp_path_factory.mktemp("pairs") / "store")


def test_rows_are_the_last_tokens_of_both_sides_in_the_order_of_the_pairs(store):
    model = tiny_model()
    for name in HOOKPOINTS:
        for p, (before, after) in enumerate(store.tokens()):
            z, z_tilde = (run(model, torch.tensor([row]), [name])[name][0, -1] for row in (before, after))
            torch.testing.assert_close(store.z(name)[p], z, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(store.z_tilde(name)[p], z_tilde, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(store.shifts(name)[p], z_tilde - z, rtol=1e-4, atol=1e-4)
    assert store.both("layers.1").shape == (6, 2, 32) and store.d_model(HOOKPOINTS[1]) == 48


def test_the_folder_says_all_that_is_known(store):
    assert store.pair_set.digest == TEXTS.digest and store.pairs == TEXTS.pairs
    assert store.factors == FACTORS and store.position == "last" and store.name == "uneven"
    assert (store.support == TEXTS.support).all() and store.support[-1].tolist() == [1, -1]
    assert store.model_identity["name"] == "tiny-llama-0"
    assert store.description["bos_token"] == 257
    rows = [json.loads(line) for line in (store.path / "pairs.jsonl").read_text().splitlines()]
    assert all(row["read_after"] == [len(row["tokens_after"]) - 1, len(row["tokens_after"])] for row in rows)
    assert bytes(rows[0]["tokens_before"][1:]).decode() == "a red box"
    verify(store.path)


def test_warnings_of_texts_and_of_activations_are_listed(store):
    assert store.warnings[0] == "of 1 of 6 pairs it is not fully known which factors changed"
    assert "layers.1: 6 pairs in 32 dimensions: shifts span at most 6" in store.warnings


def test_the_mean_is_another_recipe_and_its_span_is_recorded(tmp_path):
    store = make(tmp_path / "mean", position="mean")
    assert store.position == "mean"
    row = json.loads((store.path / "pairs.jsonl").read_text().splitlines()[-1])
    assert row["read_before"] == [1 + len("Which one? "), len(row["tokens_before"])]
    with pytest.raises(ArtifactError, match=r"made with other settings \(settings.position"):
        make(tmp_path / "mean")


class Interrupted(Exception):
    """Stands for whatever ends a process in the middle."""


def test_an_interrupted_job_ends_with_the_same_bytes_and_reads_nothing_twice(tmp_path, store, monkeypatch):
    calls: list[int] = []

    def reading(*arguments, **options):
        if len(calls) == 2:
            raise Interrupted
        calls.append(len(arguments[1]))
        return read_batch(*arguments, **options)

    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(module, "read_batch", reading)
    with pytest.raises(Interrupted):
        make(tmp_path / "again")
    monkeypatch.setattr(module, "read_batch", read_batch)
    n_before = sum(calls)
    monkeypatch.setattr(module, "read_batch", lambda *a, **o: (calls.append(len(a[1])), read_batch(*a, **o))[1])
    resumed = make(tmp_path / "again")
    assert 0 < n_before < 6 and sum(calls) == 6
    assert resumed.manifest.digest == store.manifest.digest
    names = [path.name for path in sorted(store.path.iterdir()) if path.name not in ("manifest.json", "run.jsonl")]
    assert [(store.path / n).read_bytes() for n in names] == [(resumed.path / n).read_bytes() for n in names]


def test_a_finished_folder_is_opened_without_the_model(tmp_path, monkeypatch):
    make(tmp_path / "a")
    monkeypatch.setattr(module, "read_batch", None)
    assert make(tmp_path / "a").n_pairs == 6


def test_fewer_pairs_than_factors_are_refused(tmp_path):
    few = PairSet(name="few", factors=("a", "b", "c"), pairs=(Pair(before="x", after="y"), Pair(before="v", after="w")))
    with pytest.raises(ConfigError, match="few: 2 pairs for 3 factors; give at least as many pairs as concepts"):
        make(tmp_path / "few", few)
    assert not (tmp_path / "few").exists() and not (tmp_path / "few.partial").exists()


def test_shifts_that_are_all_zero_are_refused(tmp_path):
    still = pair_set(pair("ab.", "cd."), pair("xy.", "zw.", "shape"))
    with pytest.raises(ConfigError, match="embed_tokens: every shift is zero"):
        collect_pairs(tiny_model(), still, out=tmp_path / "still", hookpoint="embed_tokens", settings=SETTINGS)


def test_some_pairs_that_stand_still_are_a_warning(tmp_path):
    pairs = pair_set(pair("ab.", "cd."), pair("xy.", "zw!", "shape"))
    store = collect_pairs(tiny_model(), pairs, out=tmp_path / "a", hookpoint="embed_tokens", settings=SETTINGS)
    assert "embed_tokens: 1 of 2 pairs do not move" in store.warnings


def test_halves_share_no_group(store):
    halves = store.halves(0)
    groups = [{TEXTS.groups[i] for i in half} for half in halves]
    assert not groups[0] & groups[1] and len(halves.choose) + len(halves.report) == 6


def test_hookpoints_are_asked_by_name(store):
    with pytest.raises(ConfigError, match=r"several hookpoints and none is named; expected one of: layers.1"):
        store.shifts()
    with pytest.raises(ConfigError, match=r"no hookpoint 'layers.9'"):
        store.shifts("layers.9")


def test_a_matrix_in_the_place_of_pairs_is_refused(tmp_path):
    path = make(tmp_path / "a").path
    z_P2D = load_file(path / "z-00000.safetensors")["layers.1"]
    save_file({"layers.1": z_P2D.reshape(12, 32).contiguous()}, path / "z-00000.safetensors")
    refit_sums(path)
    with pytest.raises(ArtifactError, match=r"does not hold layers.1 as float32 \(6, 2, 32\)"):
        PairStore(path).shifts("layers.1")


def test_an_altered_file_and_another_kind_are_refused(tmp_path, store):
    path = make(tmp_path / "a").path
    with (path / "z-00000.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(np.float32(7).tobytes())
    with pytest.raises(ArtifactError, match="was altered"):
        PairStore(path).shifts("layers.1")
    with pytest.raises(ArtifactError, match="does not exist"):
        PairStore(tmp_path / "none")


@pytest.mark.parametrize("changes", [{"position": "first"}, {"batch_tokens": 0}, {"sink_multiple": -1.0}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(Exception, match=r"position|batch_tokens|sink_multiple"):
        PairSettings(**changes)
