"""Interrupted, killed, out of disk, or written by two: a folder appears whole or not at all, with the same bytes."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bottom.folders import count_to, make, names, recipe

from bathyscope import artifacts
from bathyscope.artifacts import draft, is_finished, verify
from bathyscope.errors import ArtifactError, DeviceError


def test_an_exception_without_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), draft(tmp_path / "new" / "runs" / "out", recipe()) as work:
        (work.path / "half").write_text("half")
        _ = 1 / 0
    assert names(tmp_path) == []


def test_what_was_there_before_an_exception_stays(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with contextlib.suppress(KeyboardInterrupt), draft(tmp_path / "runs" / "out", recipe()):
        raise KeyboardInterrupt
    assert names(tmp_path) == ["runs"]


def test_a_job_interrupted_after_a_checkpoint_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        count_to(tmp_path / "a", 4, stop_at=3)
    assert (tmp_path / "a.partial").is_dir()
    assert not (tmp_path / "a").exists()
    assert count_to(tmp_path / "a", 4) == [3, 4]
    assert count_to(tmp_path / "b", 4) == [1, 2, 3, 4]
    assert verify(tmp_path / "a").digest == verify(tmp_path / "b").digest
    assert "checkpoint" not in names(tmp_path / "a")


def test_a_partial_folder_of_other_settings_is_refused_when_it_can_resume(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        count_to(tmp_path / "a", 4, stop_at=3)
    with pytest.raises(ArtifactError, match=r"begun with other settings \(seed: there 1, asked 5\)"):
        make(tmp_path / "a", recipe(seed=5))
    assert count_to(tmp_path / "a", 4) == [3, 4]


def abandoned(out: Path) -> Path:
    """What a crash before the first checkpoint leaves."""
    partial = out.with_name(out.name + ".partial")
    (partial / "checkpoint").mkdir(parents=True)
    (partial / "checkpoint" / "half.safetensors").write_text("half")
    (partial / "recipe.json").write_text('{"kind": "of old"')
    (partial / "shard-00007").write_text("stale")
    (partial / ".lock").write_text("")
    return partial


def test_what_a_crash_before_the_first_checkpoint_left_does_not_get_into_the_artifact(tmp_path: Path) -> None:
    abandoned(tmp_path / "a")
    assert not is_finished(tmp_path / "a", recipe())
    make(tmp_path / "a")
    make(tmp_path / "b")
    assert verify(tmp_path / "a").files == verify(tmp_path / "b").files


def test_a_write_cut_off_by_a_crash_does_not_get_into_the_artifact(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        count_to(tmp_path / "a", 4, stop_at=3)
    (tmp_path / "a.partial" / f"index.json.123{artifacts.TEMPORARY}").write_text("half")
    count_to(tmp_path / "a", 4)
    count_to(tmp_path / "b", 4)
    assert verify(tmp_path / "a").digest == verify(tmp_path / "b").digest


def crash_at(step: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk as a crash at `step` of the finishing would: no clean-up code runs."""
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, step, lambda *_: None)
        patch.setattr(artifacts, "_remove", lambda *_: None)
        count_to(out, 2)


def test_a_crash_between_manifest_and_rename_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_at("_publish", tmp_path / "a", monkeypatch)
    assert names(tmp_path)[0] == "a.partial"
    assert is_finished(tmp_path / "a", recipe())
    count_to(tmp_path / "b", 2)
    assert names(tmp_path / "a") == names(tmp_path / "b")
    assert verify(tmp_path / "a").digest == verify(tmp_path / "b").digest


def test_a_crash_right_after_the_rename_is_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_at("_tidy", tmp_path / "a", monkeypatch)
    assert "checkpoint" in names(tmp_path / "a")
    verify(tmp_path / "a")
    assert is_finished(tmp_path / "a", recipe())
    assert names(tmp_path / "a") == ["1.txt", "2.txt", "manifest.json"]


def test_a_crash_while_describing_keeps_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "sync", full)
        with pytest.raises(DeviceError, match="no disk space left"):
            count_to(tmp_path / "a", 3)
    assert count_to(tmp_path / "a", 3) == []
    verify(tmp_path / "a")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), RuntimeError("I/O error: No space left on device (os error 28)")]
)
def test_a_disk_that_fills_up_during_the_work_is_one_clear_line(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no disk space left; free some room"), draft(tmp_path / "out", recipe()):
        raise error
    assert names(tmp_path) == []


# --- other processes ---------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from bathyscope.artifacts import Recipe, draft
out, stop_at = Path(sys.argv[1]), int(sys.argv[2])
with draft(out, Recipe(kind="scores", config={"n": 3, "rate": 0.5}, seed=1)) as work:
    for number in range((work.state() or {"done": 0})["done"] + 1, 5):
        (work.path / f"{number}.txt").write_text(str(number))
        if number == stop_at:
            os.kill(os.getpid(), signal.SIGKILL)
        work.checkpoint({"done": number})
"""

HELD = """
import sys
from pathlib import Path
from bathyscope.artifacts import Recipe, draft
with draft(Path(sys.argv[1]), Recipe(kind="scores", config={"n": 3, "rate": 0.5}, seed=1)) as work:
    (work.path / "rows.jsonl").write_text("theirs")
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_killed_process_leaves_a_folder_that_resumes_to_the_same_bytes(stop_at: int, tmp_path: Path) -> None:
    out = tmp_path / "a"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(out), str(stop_at)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    assert count_to(out, 4) == list(range(stop_at, 5))
    count_to(tmp_path / "b", 4)
    assert verify(out).digest == verify(tmp_path / "b").digest


def test_a_second_process_is_told_that_the_folder_is_being_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", HELD, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(ArtifactError, match="is being written by another process; wait for it or stop it"):
            make(out)
        other.communicate("go on\n")
    assert other.returncode == 0
    verify(out)
    assert (out / "rows.jsonl").read_text() == "theirs"
    assert names(tmp_path) == ["out", "out/manifest.json", "out/rows.jsonl"]


def test_a_folder_finished_by_another_process_in_between_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "out", content="theirs")
    monkeypatch.setattr(artifacts, "is_finished", lambda *_: False)  # the other one finished after we had looked
    with pytest.raises(ArtifactError, match="finished by another process meanwhile"):
        make(tmp_path / "out", content="ours")
    assert (tmp_path / "out" / "rows.jsonl").read_text() == "theirs"
    assert not (tmp_path / "out.partial").exists()


def test_a_disk_without_locks_is_said_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(artifacts.fcntl, "flock", unsupported)
    verify(make(tmp_path / "out"))
    assert "this disk has no file locks" in caplog.text
