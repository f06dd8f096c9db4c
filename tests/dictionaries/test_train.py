"""The training loop: sources, budgets, interruptions, refusals."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dictionaries.planted import FakeStore, world
from torch import Tensor

from bathyscope.artifacts import read_manifest, verify
from bathyscope.dictionaries.checkpoint import last_checkpoint
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.job import open_job
from bathyscope.dictionaries.source import checked
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ArtifactError, ConfigError, DeviceError
from bathyscope.progress import Step, listening

D, F = 16, 40
KIND = TopK(n_features=F, k=3, dead_after_tokens=1000)
WORLD = world(n_true=F, d_model=D, n_tokens=2048)
QUICK = TrainSettings(batch_size=256, epochs=2, log_every=2, checkpoint_seconds=0.0)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def stop_at(tokens: int):
    def sink(step: Step) -> None:
        if step.done == tokens:
            raise KeyboardInterrupt

    return listening(sink)


def test_a_store_gives_its_hookpoint_model_and_materials_to_the_folder(tmp_path):
    store = FakeStore(tmp_path / "activations", WORLD.x_ND)
    found = train(store, KIND, out=tmp_path / "d", settings=QUICK)
    assert (found.hookpoint, found.model_identity) == ("layers.1", store.model_identity)
    manifest = verify(tmp_path / "d")
    assert manifest.parents["activations"]["digest"] == read_manifest(store.path).digest
    assert manifest.materials == store.materials
    assert manifest.config["settings"]["epochs"] == 2 and manifest.config["kind"]["k"] == 3
    assert load_dictionary(tmp_path / "d").digest == found.digest


def test_a_finished_folder_is_read_and_not_made_again(tmp_path):
    store = FakeStore(tmp_path / "activations", WORLD.x_ND)
    first = train(store, KIND, out=tmp_path / "d", settings=QUICK)
    seen: list[Step] = []
    with listening(seen.append):
        again = train(store, KIND, out=tmp_path / "d", settings=QUICK)
    assert again.digest == first.digest and seen == []
    with pytest.raises(ArtifactError, match=r"other settings \(kind.k: there 3, asked 4\)"):
        train(store, dataclasses.replace(KIND, k=4), out=tmp_path / "d", settings=QUICK)


def test_other_batches_do_not_pass_for_the_same_run(tmp_path):
    train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=QUICK)
    with pytest.raises(ArtifactError, match="sample_sha256"):
        train([WORLD.x_ND + 1], KIND, out=tmp_path / "d", settings=QUICK)


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path):
    store = FakeStore(tmp_path / "activations", WORLD.x_ND)
    digests = [train(store, KIND, settings=dataclasses.replace(QUICK, seed=seed)).digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_metrics_hold_no_clock_and_count_tokens(tmp_path):
    train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=QUICK)
    lines = rows(tmp_path / "d")
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert [line["tokens"] for line in lines] == [512 * n for n in range(1, 9)]
    names = {"step", "tokens", "loss", "error", "auxiliary", "gradient_norm", "variance_explained", "l0", "dead_share"}
    assert all(set(line) == names for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"] and lines[-1]["variance_explained"] > lines[0]["variance_explained"]
    assert 0 < lines[-1]["l0"] <= 3


def test_every_step_is_reported():
    seen: list[Step] = []
    with listening(seen.append):
        train(WORLD.batches(256), KIND, settings=QUICK)
    learnt, surveyed = ([step for step in seen if step.stage == stage] for stage in ("train", "survey"))
    assert [step.done for step in learnt] == [256 * n for n in range(1, 17)]
    assert [step.done for step in surveyed] == [256 * n for n in range(1, 9)]
    assert {(step.total, step.unit) for step in learnt} == {(4096, "tokens")}
    assert {(step.total, step.unit) for step in surveyed} == {(2048, "tokens")}
    assert "loss" in learnt[-1].figures and len(learnt) + len(surveyed) == len(seen)


@pytest.mark.parametrize("n_tokens", [1000, 3000])
def test_exactly_the_asked_tokens_are_seen(n_tokens, tmp_path):
    train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=dataclasses.replace(QUICK, n_tokens=n_tokens))
    assert rows(tmp_path / "d")[-1]["tokens"] == n_tokens


def test_batches_of_different_lengths_and_types_are_taken():
    batches = [WORLD.x_ND[:100].half(), WORLD.x_ND[100:101].bfloat16(), WORLD.x_ND[101:2048].double()]
    found = train(batches, KIND, settings=dataclasses.replace(QUICK, epochs=4))
    assert found.training["survey"]["rows"] == 2048


def test_without_survey_rows_the_weights_are_the_same_and_nothing_is_claimed_of_the_codes():
    usual = train(WORLD.batches(256), KIND, settings=QUICK)
    found = train(WORLD.batches(256), KIND, settings=dataclasses.replace(QUICK, survey_rows=0))
    assert found.digest == usual.digest and usual.max_activation is not None
    assert found.max_activation is None and "survey" not in found.training
    with pytest.raises(ConfigError, match="survey_rows is -1"):
        TrainSettings(survey_rows=-1)


def test_an_iterator_that_can_be_read_once_needs_n_tokens():
    with pytest.raises(ConfigError, match="set n_tokens"):
        train(iter(WORLD.batches(256)), KIND, settings=QUICK)


def test_an_iterator_is_read_once_and_none_of_it_is_lost():
    settings = dataclasses.replace(QUICK, n_tokens=2048, start_rows=600)
    from_list = train(WORLD.batches(256), KIND, settings=settings)
    from_iterator = train(iter(WORLD.batches(256)), KIND, settings=settings)
    assert from_iterator.digest == from_list.digest
    assert from_iterator.training["survey"]["rows"] == 600
    assert from_list.training["survey"]["rows"] == 2048


def test_an_iterator_that_ends_early_says_how_far_it_came():
    with pytest.raises(ConfigError, match="ended after 2,048 of 4,000 tokens"):
        train(iter(WORLD.batches(256)), KIND, settings=dataclasses.replace(QUICK, n_tokens=4000))


@pytest.mark.parametrize("once", [False, True])
def test_an_interrupted_run_over_an_iterator_skips_what_was_used(once, tmp_path):
    settings = dataclasses.replace(QUICK, n_tokens=2048)
    batches = WORLD.batches(128)
    straight = train(batches, KIND, settings=settings)
    with pytest.raises(KeyboardInterrupt), stop_at(1152):
        train(iter(batches) if once else batches, KIND, out=tmp_path / "d", settings=settings)
    resumed = train(iter(batches) if once else batches, KIND, out=tmp_path / "d", settings=settings)
    assert resumed.digest == straight.digest


def test_an_interrupted_run_over_a_store_ends_in_the_same_folder(tmp_path):
    store = FakeStore(tmp_path / "activations", WORLD.x_ND)
    train(store, KIND, out=tmp_path / "straight", settings=QUICK)
    for tokens in (256, 1792, 2304, 4096):  # before the first checkpoint, within and across epochs, at the very end
        with pytest.raises(KeyboardInterrupt), stop_at(tokens):
            train(store, KIND, out=tmp_path / "resumed", settings=QUICK)
    train(store, KIND, out=tmp_path / "resumed", settings=QUICK)
    assert verify(tmp_path / "resumed").digest == verify(tmp_path / "straight").digest
    assert [f.name for f in sorted((tmp_path / "resumed").iterdir())] == [
        "config.json",
        "manifest.json",
        "metrics.jsonl",
        "weights.safetensors",
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
from dictionaries.test_train import KIND, QUICK, WORLD, listening, train

def kill(step):
    if step.done == 2816:
        os.kill(os.getpid(), signal.SIGKILL)

with listening(kill):
    train(WORLD.batches(256), KIND, out=Path(sys.argv[1]), settings=QUICK)
"""


def test_a_run_that_was_killed_ends_in_the_same_folder(tmp_path):
    train(WORLD.batches(256), KIND, out=tmp_path / "straight", settings=QUICK)
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    assert (tmp_path / "killed.partial").exists() and not (tmp_path / "killed").exists()
    seen: list[int] = []
    with listening(lambda step: seen.append(step.done)):
        train(WORLD.batches(256), KIND, out=tmp_path / "killed", settings=QUICK)
    assert seen[0] == 2816, "it goes on from the checkpoint after step 10"
    assert verify(tmp_path / "killed").digest == verify(tmp_path / "straight").digest


def test_a_run_begun_with_other_settings_is_not_taken_up(tmp_path):
    with pytest.raises(KeyboardInterrupt), stop_at(1024):
        train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=QUICK)
    with pytest.raises(ArtifactError, match="begun with other settings"):
        train(WORLD.batches(256), dataclasses.replace(KIND, k=2), out=tmp_path / "d", settings=QUICK)


def spoiled(value: float, *, batch: int, row: int) -> list[Tensor]:
    batches = [b.clone() for b in WORLD.batches(256)]
    batches[batch][row, 3] = value
    return batches


@pytest.mark.parametrize("start_rows", [16_384, 256])
@pytest.mark.parametrize(("value", "name"), [(torch.nan, "NaN"), (-torch.inf, "infinity")])
def test_bad_numbers_are_reported_with_batch_and_row(value, name, start_rows, tmp_path):
    settings = dataclasses.replace(QUICK, start_rows=start_rows)
    with pytest.raises(ConfigError, match=rf"batch 4 holds {name} at row 17 \(1 such rows of 256\)"):
        train(spoiled(value, batch=4, row=17), KIND, out=tmp_path / "d", settings=settings)
    assert not (tmp_path / "d").exists()


def test_bad_numbers_of_a_store_are_reported_with_shard_row_and_document(tmp_path):
    from activations.small_store import make_store, spoil

    store = make_store(tmp_path / "a")
    row = int(store.rows("train")[700])
    document = int(store.documents[store.row_tokens()[row]])
    spoiled_store = spoil(store, "layers.1", {row: torch.nan, row + 1: torch.inf})
    start, stop, file = store.shards()[int(store.shard_of(np.array([row]))[0])]
    line = (
        rf"{file} row {row - start} \(document {document}\) of .*a holds NaN at layers.1, 2 such rows of {stop - start}"
    )
    for start_rows in (16_384, 64):
        settings = dataclasses.replace(QUICK, start_rows=start_rows, batch_size=64)
        with pytest.raises(ConfigError, match=line):
            train(spoiled_store, KIND, out=tmp_path / "d", hookpoint="layers.1", settings=settings)
        assert not (tmp_path / "d").exists()
    train(spoiled_store, KIND, hookpoint="layers.0.mlp.up_proj", settings=dataclasses.replace(QUICK, n_tokens=256))


def test_default_settings_start_on_a_store_with_fewer_rows_than_a_batch(tmp_path):
    store = FakeStore(tmp_path / "activations", WORLD.x_ND[:7])
    found = train(store, KIND, out=tmp_path / "d")
    assert found.training["tokens"] == 28 and found.training["survey"]["rows"] == 7
    assert TrainSettings().batch_size > 7


def test_large_but_finite_activations_are_not_refused():
    train([1e30 * torch.ones(4, D) * torch.randn(4, 1)], KIND, settings=QUICK)


@pytest.mark.parametrize(
    ("batches", "line"),
    [
        ([], "no batches"),
        (iter(()), "no batches"),
        (iter([torch.zeros(0, D)]), "batch 0 is empty"),
        ([torch.zeros(4, 5), torch.zeros(4, 6)], "batch 1 has width 6, expected 5"),
        ([torch.zeros(4)], r"batch 0 is \(4,\) of torch.float32: expected a floating-point tensor \[N, D\]"),
        ([torch.zeros(4, 5, dtype=torch.int64)], "torch.int64"),
        (torch.zeros(4, 5), r"found Tensor; a tensor x is \[x\]"),
    ],
)
def test_what_is_no_batch_is_refused(batches, line):
    with pytest.raises(ConfigError, match=line):
        train(batches, KIND, settings=dataclasses.replace(QUICK, n_tokens=8))


def test_what_is_no_tensor_is_refused():
    with pytest.raises(ConfigError, match="batch 3 is list: expected a floating-point tensor"):
        checked([1.0, 2.0], d_model=2, number=3)


def test_a_hookpoint_of_plain_batches_is_refused():
    with pytest.raises(ConfigError, match=r"hookpoint layers[.]1 names a part of a store"):
        train(WORLD.batches(256), KIND, hookpoint="layers.1", settings=QUICK)


def test_a_store_without_training_rows_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no training activations"):
        train(FakeStore(tmp_path / "activations", WORLD.x_ND[:0]), KIND, settings=QUICK)


def test_a_diverging_run_stops_with_its_step_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    from bathyscope.dictionaries.topk import TopKTrainee

    original, calls = TopKTrainee.loss, []

    def loss(self, x_ND, *, progress=1.0):
        calls.append(progress)
        found = original(self, x_ND, progress=progress)
        return dataclasses.replace(found, total=found.total * torch.inf) if len(calls) == 7 else found

    monkeypatch.setattr(TopKTrainee, "loss", loss)
    lr = f"{KIND.optimisation(WORLD.x_ND.shape[1]).lr:g}"
    remedies = rf"lower lr \(now {lr}\), lengthen warm_up \(now 0.02 of the run\) or set a shorter clip_norm \(now 1\)"
    with pytest.raises(ConfigError, match=rf"diverged at step 7 .*{remedies}.*checkpoint is kept in .*d.partial"):
        train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=QUICK)
    state = json.loads((tmp_path / "d.partial" / "checkpoint" / "state.json").read_bytes())
    assert state["step"] == 6
    assert not (tmp_path / "d").exists()
    monkeypatch.setattr(TopKTrainee, "loss", original)
    with pytest.raises(KeyboardInterrupt), stop_at(1536):
        train(WORLD.batches(256), KIND, out=tmp_path / "sane", settings=QUICK)
    assert last_checkpoint(tmp_path / "d.partial").digest == last_checkpoint(tmp_path / "sane.partial").digest


def test_a_run_that_only_gets_worse_is_stopped_though_its_numbers_are_finite(tmp_path):
    settings = dataclasses.replace(QUICK, lr=1e4, warm_up=0.0)
    with pytest.raises(ConfigError, match=r"diverged at step \d+ \(error 100 times that of the start\): lower lr"):
        train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=settings)
    assert not (tmp_path / "d").exists()


def test_what_counts_as_diverging_survives_an_interruption(tmp_path):
    with pytest.raises(KeyboardInterrupt), stop_at(512):
        train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=QUICK)
    state = json.loads((tmp_path / "d.partial" / "checkpoint" / "state.json").read_bytes())
    assert state["member"]["least_sane"] >= 100
    train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=QUICK)


def test_another_seed_of_the_order_gives_other_batches_and_the_same_start(tmp_path):
    store = FakeStore(tmp_path / "activations", WORLD.x_ND)
    one_step = dataclasses.replace(QUICK, n_tokens=256, lr=1e-30)
    made = [train(store, KIND, settings=dataclasses.replace(one_step, order_seed=seed)) for seed in (None, 5)]
    torch.testing.assert_close(made[0].W_dec, made[1].W_dec)
    whole = [train(store, KIND, settings=dataclasses.replace(QUICK, order_seed=seed)).digest for seed in (None, 0, 5)]
    assert whole[0] == whole[1] != whole[2]


def test_a_wild_learning_rate_is_stopped(tmp_path):
    settings = dataclasses.replace(QUICK, lr=1e30, warm_up=0.0, clip_norm=0.0)
    with pytest.raises(ConfigError, match="diverged at step"):
        train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=settings)
    assert not (tmp_path / "d").exists() and not (tmp_path / "d.partial" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"epochs": -1}, "epochs is -1"),
        ({"n_tokens": 0}, "n_tokens is 0"),
        ({"log_every": 0}, "log_every is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"order_seed": -2}, "order_seed is -2"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        TrainSettings(**settings)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(DeviceError, match=f"device '{device}' cannot be used"):
        train(WORLD.batches(256), KIND, settings=dataclasses.replace(QUICK, device=device))


def test_too_little_disk_is_refused_before_work_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("bathyscope.runtime.free_disk_bytes", lambda path: 1000)
    with pytest.raises(DeviceError, match="no disk space"):
        train(WORLD.batches(256), KIND, out=tmp_path / "d", settings=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_are_not_given_are_the_kinds_own():
    assert TrainSettings().optimisation(KIND, D) == KIND.optimisation(D)
    found = TrainSettings(lr=0.5, decay=0.1, betas=(0.5, 0.99)).optimisation(KIND, D)
    assert (found.lr, found.decay, found.betas) == (0.5, 0.1, (0.5, 0.99))
    assert found.warm_up == KIND.optimisation(D).warm_up


@pytest.mark.parametrize(("n_tokens", "share"), [(2500 * 256, 1), (10_000 * 256 - 1, 1 / 2)])
def test_long_runs_learn_at_a_lower_rate_unless_one_is_given(n_tokens, share):
    settings = TrainSettings(n_tokens=n_tokens, batch_size=1)  # given batches are taken as they are
    job = open_job(WORLD.batches(256), [KIND], hookpoint=None, settings=settings)
    assert settings.optimisation(KIND, D, n_steps=job.n_steps).lr == pytest.approx(share * KIND.optimisation(D).lr)
    given = dataclasses.replace(settings, lr=0.5)
    assert given.optimisation(KIND, D, n_steps=job.n_steps).lr == 0.5


def test_a_longer_gradient_than_allowed_is_cut():
    from bathyscope.dictionaries.member import Member

    member = Member(KIND, d_model=D, optimisation=dataclasses.replace(KIND.optimisation(D), clip_norm=1e-3), seed=0)
    for parameter in member.trainee.parameters():
        parameter.grad = torch.ones_like(parameter)
    length = float(member._clip())
    assert length == pytest.approx(sum(p.numel() for p in member.trainee.parameters()) ** 0.5)
    kept = torch.cat([p.grad.flatten() for p in member.trainee.parameters() if p.grad is not None])
    assert float(kept.norm()) == pytest.approx(1e-3, rel=1e-3)
