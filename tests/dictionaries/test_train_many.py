"""Several dictionaries from one stream: each the one that `train` alone makes, whatever happens to the others."""

import dataclasses
import json
import logging
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from dictionaries.planted import FakeStore, world

from bathyscope import runtime
from bathyscope.artifacts import verify
from bathyscope.dictionaries import learn
from bathyscope.dictionaries.checkpoint import last_checkpoint
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK, TopKTrainee
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.train_many import MemberSettings, train_many
from bathyscope.errors import ArtifactError, ConfigError, DeviceError
from bathyscope.progress import listening

D, F = 16, 40
WORLD = world(n_true=F, d_model=D, n_tokens=2048)
QUICK = TrainSettings(batch_size=256, epochs=2, log_every=2, checkpoint_seconds=0.0)
SPARSE = TopK(n_features=F, k=3, dead_after_tokens=1000)
MEMBERS = {
    "sparse": SPARSE,
    "smooth": ReLU(n_features=24, l1=2.0),
    "seed-7": MemberSettings(of=SPARSE, seed=7),
    "slow": MemberSettings(of=SPARSE, lr=1e-4, warm_up=0.1, clip_norm=0.1),
}
ALONE = {
    "sparse": (SPARSE, QUICK),
    "smooth": (MEMBERS["smooth"], QUICK),
    "seed-7": (SPARSE, dataclasses.replace(QUICK, seed=7, order_seed=0)),
    "slow": (SPARSE, dataclasses.replace(QUICK, lr=1e-4, warm_up=0.1, clip_norm=0.1)),
}
WILD = MemberSettings(of=SPARSE, lr=1e30, warm_up=0.0, clip_norm=0.0)


def digests(folder: Path) -> dict[str, str]:
    return {name: verify(folder / name).digest for name in MEMBERS}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """Every member trained by itself on the store."""
    folder = tmp_path_factory.mktemp("alone")
    store = FakeStore(folder / "activations", WORLD.x_ND)
    for name, (kind, settings) in ALONE.items():
        train(store, kind, out=folder / name, settings=settings)
    return folder


@pytest.fixture
def store(tmp_path) -> FakeStore:
    return FakeStore(tmp_path / "activations", WORLD.x_ND)


def stop_at(tokens: int):
    def sink(step) -> None:
        if step.done == tokens:
            raise KeyboardInterrupt

    return listening(sink)


def test_each_member_has_the_very_folder_that_it_would_have_alone(alone, store, tmp_path):
    made = train_many(store, MEMBERS, out=tmp_path / "many", settings=QUICK)
    assert digests(tmp_path / "many") == digests(alone)
    assert list(made) == list(MEMBERS)
    assert {name: d.digest for name, d in made.items()} == {n: load_dictionary(alone / n).digest for n in MEMBERS}
    assert len({d.digest for d in made.values()}) == len(MEMBERS), "seeds and rates differ"


def test_in_memory_the_same_dictionaries_come_back_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = train_many(WORLD.batches(256), MEMBERS, settings=QUICK)
    for name, (kind, settings) in ALONE.items():
        single = train(WORLD.batches(256), kind, settings=settings)
        assert made[name].digest == single.digest
        assert made[name].training == single.training
        assert torch.equal(made[name].max_activation, single.max_activation)
    assert list(tmp_path.iterdir()) == []


def test_every_batch_is_read_once_for_all_members():
    read = []

    def batches():
        for number, batch in enumerate(WORLD.batches(256)):
            read.append(number)
            yield batch

    train_many(batches(), MEMBERS, settings=dataclasses.replace(QUICK, n_tokens=2048))
    assert read == list(range(8))


def test_the_order_of_batches_is_the_runs_and_the_start_is_the_members(store):
    settings = dataclasses.replace(QUICK, seed=3)
    made = train_many(store, {"own": SPARSE, "three": MemberSettings(of=SPARSE, seed=3)}, settings=settings)
    assert made["own"].digest == made["three"].digest
    assert MemberSettings(of=SPARSE, seed=3).within(settings) == settings
    other = MemberSettings(of=SPARSE, seed=5).within(settings)
    assert (other.seed, other.order_seed, other.seed_of_order) == (5, 3, 3)


@pytest.mark.parametrize("tokens", [256, 1792, 4096])
def test_an_interrupted_run_ends_in_the_same_folders(tokens, alone, store, tmp_path):
    with pytest.raises(KeyboardInterrupt), stop_at(tokens):
        train_many(store, MEMBERS, out=tmp_path / "many", settings=QUICK)
    train_many(store, MEMBERS, out=tmp_path / "many", settings=QUICK)
    assert digests(tmp_path / "many") == digests(alone)
    assert sorted(f.name for f in (tmp_path / "many").iterdir()) == sorted(MEMBERS)


@pytest.mark.parametrize("calls", [1, 5, 6, 30])
def test_a_stop_between_two_members_checkpoints_does_not_part_them(calls, alone, store, tmp_path, monkeypatch):
    save, made = learn.save_checkpoint, []

    def save_some(*arguments):
        save(*arguments)
        made.append(arguments)
        if len(made) == calls:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(learn, "save_checkpoint", save_some)
        with pytest.raises(KeyboardInterrupt):
            train_many(store, MEMBERS, out=tmp_path / "many", settings=QUICK)
    steps = {
        json.loads((f / "checkpoint" / "state.json").read_bytes())["step"]
        for f in (tmp_path / "many").iterdir()
        if (f / "checkpoint" / "state.json").exists()
    }
    assert steps == {2} if calls == 1 else len(steps) == 2
    train_many(store, MEMBERS, out=tmp_path / "many", settings=QUICK)
    assert digests(tmp_path / "many") == digests(alone)


KILLED = """
import os, signal, sys
from pathlib import Path
from dictionaries.planted import FakeStore
from dictionaries.test_train_many import MEMBERS, QUICK, WORLD, listening, train_many

def kill(step):
    if step.done == 2816:
        os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
with listening(kill):
    train_many(FakeStore(folder / "activations", WORLD.x_ND), MEMBERS, out=folder / "many", settings=QUICK)
"""


def test_a_run_that_was_killed_ends_in_the_same_folders(alone, tmp_path):
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    seen: list[int] = []
    store = FakeStore(tmp_path / "activations", WORLD.x_ND)
    with listening(lambda step: seen.append(step.done)):
        train_many(store, MEMBERS, out=tmp_path / "many", settings=QUICK)
    assert seen[0] == 2816, "it goes on from the checkpoint after step 10"
    assert digests(tmp_path / "many") == digests(alone)


def test_after_resuming_each_loss_is_told_the_progress_of_the_whole_run(store, tmp_path, monkeypatch):
    original, told = TopKTrainee.loss, []

    def loss(self, x_ND, *, progress=1.0):
        told.append(round(progress * 4096))
        return original(self, x_ND, progress=progress)

    monkeypatch.setattr(TopKTrainee, "loss", loss)
    two = {"a": SPARSE, "b": MemberSettings(of=SPARSE, seed=1)}
    with pytest.raises(KeyboardInterrupt), stop_at(1280):
        train_many(store, two, out=tmp_path / "many", settings=QUICK)
    train_many(store, two, out=tmp_path / "many", settings=QUICK)
    middles = [256 * step + 128 for step in range(16) for _ in two]
    assert told == [*middles[:10], *middles[8:]], "the checkpoint is after step 4, the stop after step 5"


def test_finished_folders_are_kept_and_members_can_be_added(alone, store, tmp_path):
    first = {name: MEMBERS[name] for name in ("sparse", "smooth")}
    train_many(store, first, out=tmp_path / "many", settings=QUICK)
    before = {name: (tmp_path / "many" / name / "manifest.json").stat().st_mtime_ns for name in first}
    made = train_many(store, MEMBERS, out=tmp_path / "many", settings=QUICK)
    assert {name: (tmp_path / "many" / name / "manifest.json").stat().st_mtime_ns for name in first} == before
    assert digests(tmp_path / "many") == digests(alone) and list(made) == list(MEMBERS)
    with pytest.raises(ArtifactError, match="other settings"):
        train_many(store, {"sparse": ReLU(n_features=F)}, out=tmp_path / "many", settings=QUICK)


def test_a_member_added_to_an_interrupted_run_catches_up(alone, store, tmp_path):
    first = {name: MEMBERS[name] for name in ("sparse", "smooth")}
    with pytest.raises(KeyboardInterrupt), stop_at(2560):
        train_many(store, first, out=tmp_path / "many", settings=QUICK)
    train_many(store, MEMBERS, out=tmp_path / "many", settings=QUICK)
    assert digests(tmp_path / "many") == digests(alone)


def test_a_diverging_member_is_stopped_by_name_and_the_others_go_on(alone, store, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        made = train_many(store, {**MEMBERS, "wild": WILD}, out=tmp_path / "many", settings=QUICK)
    assert list(made) == list(MEMBERS) and digests(tmp_path / "many") == digests(alone)
    assert not (tmp_path / "many" / "wild").exists()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("wild: training diverged at step 2 ") and "lower lr (now 1e+30)" in line


def test_what_a_diverged_member_learnt_before_can_be_loaded(store, tmp_path, monkeypatch, caplog):
    original, calls = TopKTrainee.loss, []

    def loss(self, x_ND, *, progress=1.0):
        calls.append(progress)
        found = original(self, x_ND, progress=progress)
        return dataclasses.replace(found, total=found.total * torch.nan) if len(calls) == 7 else found

    monkeypatch.setattr(TopKTrainee, "loss", loss)
    made = train_many(store, {"smooth": MEMBERS["smooth"], "bad": SPARSE}, out=tmp_path / "many", settings=QUICK)
    assert list(made) == ["smooth"]
    assert "many/bad.partial (after step 6)" in caplog.text
    found = last_checkpoint(tmp_path / "many" / "bad.partial")
    assert found.training == {"tokens": 1536} and found.hookpoint == "layers.1"
    monkeypatch.setattr(TopKTrainee, "loss", original)
    with pytest.raises(KeyboardInterrupt), stop_at(1536):
        train(store, SPARSE, out=tmp_path / "sane", settings=QUICK)
    assert found.digest == last_checkpoint(tmp_path / "sane.partial").digest
    assert bool(torch.isfinite(found.W_enc).all())
    found.save(tmp_path / "rescued")
    with pytest.raises(ArtifactError, match="no checkpoint"):
        last_checkpoint(tmp_path)


def test_when_all_diverge_it_is_an_error(store, tmp_path):
    with pytest.raises(ConfigError, match="every dictionary diverged; wild: training diverged at step"):
        train_many(store, {"wild": WILD, "wilder": WILD}, out=tmp_path / "many", settings=QUICK)
    assert not any((tmp_path / "many" / name).exists() for name in ("wild", "wilder"))


def test_large_checkpoints_are_written_less_often(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(learn, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    rhythm, always = learn._Rhythm(20.0), learn._Rhythm(0.0)
    assert not rhythm.is_due() and always.is_due()
    clock[0] = 20.0
    assert rhythm.is_due()
    for saved in (rhythm, always):
        with saved.timed():
            clock[0] += 10.0
    assert always.is_due() and not rhythm.is_due()
    clock[0] = 30.0 + 89.0
    assert not rhythm.is_due()
    clock[0] = 30.0 + 90.0
    assert rhythm.is_due(), "ten seconds of saving, ninety without"


def test_too_little_memory_is_refused_before_work_starts(store, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "free_memory_bytes", lambda device: 2_500_000)
    wide = TopK(n_features=4000, k=3)
    many = {"a": SPARSE, "b": wide, "c": wide}
    needed = r"3 dictionaries need 3\.6 MB at once .*the largest, b, 1\.5 MB\), 2\.5 MB are free: train fewer"
    with pytest.raises(DeviceError, match=needed):
        train_many(store, many, out=tmp_path / "many", settings=QUICK)
    assert not (tmp_path / "many").exists()
    train_many(store, {"b": wide}, settings=dataclasses.replace(QUICK, n_tokens=256))
    with pytest.raises(DeviceError, match=r"12,000 features of width 16 need 6\.1 MB at once .*, 2\.5 MB are free"):
        train(store, TopK(n_features=12_000, k=3), out=tmp_path / "one", settings=QUICK)
    assert not (tmp_path / "one").exists()


def test_free_memory_is_a_number_of_bytes_and_a_limit_of_the_group_counts(tmp_path):
    free = runtime.free_memory_bytes()
    assert free is None or 1e6 < free < 1e15
    assert runtime._free_in_group(5, tmp_path) == 5
    for name, text in (("max", "1000"), ("current", "700"), ("stat", "anon 1\ninactive_file 50\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert runtime._free_in_group(5, tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert runtime._free_in_group(5, tmp_path) == 5


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a.partial", "a b"])
def test_a_name_that_is_no_folder_is_refused(name, store, tmp_path):
    with pytest.raises(ConfigError, match="a name is a folder"):
        train_many(store, {name: SPARSE}, out=tmp_path / "many", settings=QUICK)


def test_no_members_are_refused(store):
    with pytest.raises(ConfigError, match="at least one member"):
        train_many(store, {}, settings=QUICK)
