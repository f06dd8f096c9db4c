"""A run of several processes of which one is killed: nothing is lost, and any number of processes can go on."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from dictionaries.planted import FakeStore, world
from ranks import run_ranks, said

from bathyscope.dictionaries.checkpoint import last_checkpoint
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.ranks.mesh import Mesh
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.launch.group import joined
from bathyscope.progress import Step, listening

D, F = 16, 48
KIND = TopK(n_features=F, k=3, dead_after_tokens=100, k_aux=5)
WORLD = world(n_true=F, d_model=D, n_tokens=1100)
SETTINGS = TrainSettings(batch_size=128, epochs=2, log_every=2, checkpoint_seconds=0.0, start_rows=512)


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def training(store: FakeStore, out: Path, *, dies_at: int | None = None) -> Callable[[], None]:
    """What each of two processes does; after so many tokens the second is killed."""

    def work() -> None:
        with joined(feature_ranks=2) as mesh, listening(_killer(mesh, dies_at)):
            train(store, KIND, out=out, settings=SETTINGS, mesh=mesh)

    return work


def _killer(mesh: Mesh, tokens: int | None) -> Callable[[Step], None]:
    def sink(step: Step) -> None:
        if mesh.rank == 1 and step.done == tokens:
            os.kill(os.getpid(), signal.SIGKILL)

    return sink


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[FakeStore, Path]:
    """A store, and the partial folder of a run on it that died after 11 steps, the checkpoint being of the tenth."""
    folder = tmp_path_factory.mktemp("killed")
    store = FakeStore(folder / "activations", WORLD.x_ND)
    first, second = run_ranks(2, training(store, folder / "d", dies_at=1356), folder)
    assert (first, second) == (1, -signal.SIGKILL)
    assert "Connection closed by peer" in said(folder) or "Connection reset" in said(folder)
    return store, folder / "d.partial"


def test_two_go_on_to_the_bytes_of_a_run_that_nothing_happened_to(killed, tmp_path):
    store, partial = killed
    shutil.copytree(partial, tmp_path / "d.partial")
    assert run_ranks(2, training(store, tmp_path / "d"), tmp_path) == [0, 0], said(tmp_path)
    assert run_ranks(2, training(store, tmp_path / "whole"), tmp_path) == [0, 0], said(tmp_path)
    for name in ("weights.safetensors", "config.json", "metrics.jsonl"):
        assert (tmp_path / "d" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_one_goes_on_with_what_two_left(killed, tmp_path):
    store, partial = killed
    shutil.copytree(partial, tmp_path / "d.partial")
    assert last_checkpoint(tmp_path / "d.partial").n_features == F
    gone_on = train(store, KIND, out=tmp_path / "d", settings=SETTINGS)
    alone = train(store, KIND, out=tmp_path / "alone", settings=SETTINGS)
    torch.testing.assert_close(gone_on.W_dec, alone.W_dec, rtol=0, atol=2e-3)
    assert metrics(tmp_path / "d")[-1] == pytest.approx(metrics(tmp_path / "alone")[-1], rel=2e-4)


def test_two_go_on_with_what_one_left(killed, tmp_path):
    store, _ = killed

    def stop(step: Step) -> None:
        if step.done == 1356:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(stop):
        train(store, KIND, out=tmp_path / "d", settings=SETTINGS)
    assert run_ranks(2, training(store, tmp_path / "d"), tmp_path) == [0, 0], said(tmp_path)
    alone = train(store, KIND, out=tmp_path / "alone", settings=SETTINGS)
    torch.testing.assert_close(load_dictionary(tmp_path / "d").W_dec, alone.W_dec, rtol=0, atol=2e-3)
    assert metrics(tmp_path / "d")[-1] == pytest.approx(metrics(tmp_path / "alone")[-1], rel=2e-4)
