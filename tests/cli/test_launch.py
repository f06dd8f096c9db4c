"""`bathyscope launch` and torchrun: a real stage in real processes, of which one is killed; what is refused."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from activations.small_store import make_store

from bathyscope.artifacts import verify
from bathyscope.cli import main
from bathyscope.dictionaries.dictionary import load_dictionary

PYTHON = [sys.executable, "-m", "bathyscope"]
SECONDS = 300.0
"""Longest time that a group may take."""


def words(store: Path, out: Path) -> list[str]:
    settings = ["--batch-size", "64", "--n-tokens", "25600", "--log-every", "10", "--checkpoint-seconds", "0"]
    where = ["--activations", str(store), "--hookpoint", "layers.1", "--out", str(out), "--feature-ranks", "2"]
    return ["train", *where, *settings, "topk", "--n-features", "64", "--k", "4"]


def test_a_launched_run_survives_the_death_of_a_process_with_the_bytes_of_torchrun(tmp_path):
    store = make_store(tmp_path / "activations").path
    launch = [*PYTHON, "launch", "--nproc", "2", *words(store, tmp_path / "launched")]
    with subprocess.Popen(launch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as group:
        state, until = tmp_path / "launched.partial" / "checkpoint" / "state.json", time.monotonic() + SECONDS
        while not state.exists() and group.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        psutil.Process(group.pid).children()[1].kill()
        out, said = group.communicate(timeout=SECONDS)
    assert group.returncode == 0, said
    assert "process 1 of 2 was killed by SIGKILL: starting all again" in said
    assert out.count("digest") == 1, "only the first process prints"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "bathyscope"]
    subprocess.run([*torchrun, *words(store, tmp_path / "run")], check=True, capture_output=True, timeout=SECONDS)
    assert verify(tmp_path / "launched").digest == verify(tmp_path / "run").digest
    assert load_dictionary(tmp_path / "launched").n_features == 64


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["launch", "explain", "--features", "a"], "'explain' cannot be launched: several processes can run collect"),
        (["launch", "--nproc", "0", "train"], "nproc is 0"),
        (["launch"], "stage"),
    ],
)
def test_what_cannot_be_launched_is_refused_in_one_line(arguments, reason, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert reason in said and said.count("\n") == 1


def test_a_stage_of_one_process_is_refused_in_a_group(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["verify", "somewhere"]) == 2
    assert (
        "verify is run by one process; several together can run collect, train, index, risk" in capsys.readouterr().err
    )


def test_features_cannot_be_split_over_one_process(tmp_path, capsys):
    store = make_store(tmp_path / "activations").path
    assert main(words(store, tmp_path / "d")) == 2
    assert "feature_ranks is 2, but this is one process" in capsys.readouterr().err
