"""What the process says of its machine, and how the disk's refusals are worded."""

import errno
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bathyscope import runtime
from bathyscope.errors import ArtifactError, ConfigError, DeviceError


def test_the_environment_names_versions_and_no_machine() -> None:
    found = runtime.environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["torch"].startswith("2.")
    assert set(found) <= {"python", "platform", *runtime.RECORDED_PACKAGES}
    assert os.uname().nodename not in json.dumps(found).split('"')


def test_peak_memory_is_bytes_and_never_falls() -> None:
    before = runtime.peak_memory_bytes()
    block = np.ones(8_000_000)
    after = runtime.peak_memory_bytes()
    assert 10_000_000 < before <= after
    assert block.sum() == 8_000_000


def test_free_disk_is_that_of_the_nearest_existing_folder(tmp_path: Path) -> None:
    wanted = os.statvfs(tmp_path)
    found = runtime.free_disk_bytes(tmp_path / "not" / "yet" / "there")
    assert found == pytest.approx(wanted.f_bavail * wanted.f_frsize, rel=0.2)


def test_enough_disk_passes_in_silence(tmp_path: Path) -> None:
    runtime.require_disk(tmp_path, 1)


def test_too_little_disk_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        runtime.require_disk(tmp_path / "runs", 10**18)
    message = str(caught.value)
    assert message.startswith(f"no disk space for {tmp_path / 'runs'}: 1,000,000,000,000 MB needed, ")
    assert message.endswith(" MB free; free some room or choose another --out")


def test_the_reserve_counts_as_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "free_disk_bytes", lambda path: 1_000_000)
    runtime.require_disk(tmp_path, 980_000)
    with pytest.raises(DeviceError):
        runtime.require_disk(tmp_path, 990_000)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"BATHYSCOPE_CACHE": "/a/b"}, "/a/b"),
        ({"BATHYSCOPE_CACHE": "~/b"}, "/home-of-test/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/bathyscope"),
        ({"XDG_CACHE_HOME": "relative"}, "/home-of-test/.cache/bathyscope"),
        ({}, "/home-of-test/.cache/bathyscope"),
    ],
)
def test_the_cache_folder_follows_the_environment(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BATHYSCOPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home-of-test", **environment}.items():
        monkeypatch.setenv(name, value)
    assert runtime.cache_folder() == Path(expected)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_device_error_with_the_remedy(code: int, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no disk space left; free some room"):
        with runtime.disk_errors(tmp_path, doing="write"):
            raise OSError(code, os.strerror(code))


def test_a_refusal_names_the_path_the_reason_and_the_culprit(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError) as caught, runtime.disk_errors(tmp_path / "out", doing="write"):
        (tmp_path / "file" / "below").mkdir()
    text = str(caught.value)
    assert text == (
        f"cannot write {tmp_path / 'out'}: Not a directory ({tmp_path / 'file' / 'below'}); "
        "check the path and its permissions"
    )


def test_our_own_errors_and_bugs_pass_unchanged(tmp_path: Path) -> None:
    for error in (ArtifactError("as it was"), ConfigError("as it was"), KeyError("a bug")):
        with pytest.raises(type(error)) as caught, runtime.disk_errors(tmp_path, doing="write"):
            raise error
        assert caught.value is error


def test_full_disks_are_recognised_in_the_words_of_libraries() -> None:
    assert runtime.is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert runtime.is_disk_full(OSError("1000000 requested and 131056 written"))
    wrapped = RuntimeError("writer failed")
    wrapped.__cause__ = OSError(errno.ENOSPC, "x")
    assert runtime.is_disk_full(wrapped)
    assert not runtime.is_disk_full(OSError(errno.EACCES, "Permission denied"))


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs the device that is always full (Linux)")
def test_a_write_to_a_full_device_is_recognised() -> None:
    with pytest.raises(OSError, match="No space") as caught, Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert runtime.is_disk_full(caught.value)


REUSED = """
import resource
from bathyscope import runtime
assert runtime.keep_freed_memory() is True
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(b"x") * 64_000_000
    del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first, second = faults(), faults()
print(first, second)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these thresholds")
def test_kept_memory_is_reused_without_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", REUSED], capture_output=True, text=True, check=True)
    first, second = map(int, done.stdout.split())
    assert first > 10_000
    assert second < 100


def test_too_little_memory_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "free_memory_bytes", lambda device: 2_000_000 if device == "cpu" else None)
    line = {"what": "4 features", "made_of": "weights", "remedy": "train fewer"}
    runtime.require_memory(2_000_000, **line)
    with pytest.raises(DeviceError) as caught:
        runtime.require_memory(2_000_001, **line)
    assert str(caught.value) == "4 features need 2.0 MB at once (weights), 2.0 MB are free: train fewer"
    runtime.require_memory(10**18, **line, device="a device that does not say")
