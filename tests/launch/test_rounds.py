"""A group of processes: what each is told, what a death of one leads to, and how all are stopped."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from launch.fake_ray import FakeRay

from bathyscope.errors import ConfigError
from bathyscope.launch.processes import on_this_machine
from bathyscope.launch.ray_tasks import OnRay, RaySettings
from bathyscope.launch.rounds import GroupSettings, ended, run_group

MEMBER = """
import os, signal, sys, time
from pathlib import Path

folder, what = Path(sys.argv[1]), sys.argv[2]
rank, starts = os.environ["RANK"], len(list(folder.glob("start-*")))
(folder / f"start-{rank}-{os.getpid()}").write_text(" ".join(
    os.environ[name] for name in ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")))
print("rank", rank, "was here", file=sys.stderr, flush=True)
if what == "killed once" and rank == "1" and starts < 2:
    os.kill(os.getpid(), signal.SIGKILL)
if what == "killed always" and rank == "1":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "bad input" and rank == "0":
    sys.exit(2)
if what in ("bad input", "waits") or (what.startswith("killed") and rank == "0" and starts < 2):
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        (folder / f"interrupted-{rank}").touch()
        sys.exit(130)
"""
"""A member that needs no library."""


@pytest.fixture
def run(tmp_path: Path):
    script = tmp_path / "member.py"
    script.write_text(MEMBER)

    def run(what: str, **settings: int) -> int:
        words, program = [str(tmp_path), what], (sys.executable, str(script))
        return run_group(words, GroupSettings(**settings), on_this_machine, program=program)

    return run


def starts(folder: Path) -> list[str]:
    return sorted(file.name.split("-")[1] for file in folder.glob("start-*"))


def test_every_process_is_told_its_place_and_where_to_meet(run, tmp_path):
    assert run("ends well", nproc=3) == 0
    assert starts(tmp_path) == ["0", "1", "2"]
    told = {file.name.split("-")[1]: file.read_text().split() for file in tmp_path.glob("start-*")}
    assert {rank: words[:3] for rank, words in told.items()} == {rank: ["3", rank, "127.0.0.1"] for rank in "012"}
    assert len({words[3] for words in told.values()}) == 1


def test_when_one_is_killed_all_are_started_again(run, tmp_path, caplog):
    assert run("killed once", nproc=2, restarts=1) == 0
    assert starts(tmp_path) == ["0", "0", "1", "1"]
    assert "process 1 of 2 was killed by SIGKILL: starting all again from the last checkpoint" in caplog.text


def test_a_group_is_started_again_so_often_and_no_more_and_the_last_words_are_shown(run, tmp_path, caplog):
    assert run("killed always", nproc=2, restarts=1) == 1
    assert starts(tmp_path) == ["0", "0", "1", "1"]
    (error,) = (record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert error == "process 1 of 2 was killed by SIGKILL and is not started again\n  rank 1 was here"


def test_bad_input_ends_all_and_is_not_tried_again(run, tmp_path):
    assert run("bad input", nproc=2, restarts=3) == 2
    assert starts(tmp_path) == ["0", "1"]


def test_ctrl_c_reaches_every_process(run, tmp_path):
    def press() -> None:
        while len(starts(tmp_path)) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    assert run("waits", nproc=2) == 130
    assert {file.name for file in tmp_path.glob("interrupted-*")} == {"interrupted-0", "interrupted-1"}


@pytest.mark.parametrize(("settings", "reason"), [({"nproc": 0}, "nproc is 0"), ({"restarts": -1}, "restarts is -1")])
def test_settings_out_of_range_are_refused(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        GroupSettings(**settings)


def on_fake_ray(monkeypatch, **loses: int) -> FakeRay:
    fake = FakeRay(**loses)
    for name, module in fake.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def test_tasks_of_ray_are_placed_together_and_told_where_to_meet(tmp_path, monkeypatch):
    fake, script = on_fake_ray(monkeypatch), tmp_path / "member.py"
    script.write_text(MEMBER)
    rounds = OnRay(RaySettings(cpus=2, gpus=1, address="auto"))
    words = [str(tmp_path), "ends well"]
    assert run_group(words, GroupSettings(nproc=3), rounds, program=(sys.executable, str(script))) == 0
    assert fake.started == ["auto"] and fake.groups == [[{"CPU": 2, "GPU": 1}] * 3] and fake.n_removed == 1
    places = [option["scheduling_strategy"].placement_group_bundle_index for option in fake.options]
    assert places == [0, 0, 1, 2]
    assert all((o["num_cpus"], o["num_gpus"], o["max_retries"]) == (2, 1, 0) for o in fake.options)
    told = {file.name.split("-")[1]: file.read_text().split() for file in tmp_path.glob("start-*")}
    assert {rank: words[:3] for rank, words in told.items()} == {rank: ["3", "0", "127.0.0.1"] for rank in "012"}


def test_a_task_that_ray_loses_starts_all_again(tmp_path, monkeypatch, caplog):
    fake, script = on_fake_ray(monkeypatch, loses=2), tmp_path / "member.py"
    script.write_text(MEMBER)
    words, program = [str(tmp_path), "ends well"], (sys.executable, str(script))
    assert run_group(words, GroupSettings(nproc=2), OnRay(RaySettings()), program=program) == 0
    assert starts(tmp_path) == ["0", "0", "1"] and fake.n_removed == 2
    assert "process 1 of 2 was killed by SIGKILL: starting all again" in caplog.text


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'pip install "bathyscope\[ray\]"'):
        OnRay(RaySettings())
    with pytest.raises(ConfigError, match="cpus is 0"):
        RaySettings(cpus=0)


def test_the_exit_code_that_says_most_decides():
    assert ended([0, 0]) == (0, 0, ())
    assert ended([1, 2, -9])[:2] == (2, 1)
    assert ended([1, 130, None])[:2] == (130, 1)
    assert ended([1, -9, None])[:2] == (-9, 1)
