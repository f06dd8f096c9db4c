"""Single files are whole or absent."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from bathyscope import files
from bathyscope.errors import ArtifactError


def test_the_sum_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert files.sha256(tmp_path / "a").startswith("ba7816bf")


def test_writing_replaces_the_content_and_leaves_nothing_beside(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a", b"old")
    files.write_atomic(tmp_path / "a", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"new")]


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.write_atomic(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(tmp_path / "a", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.parametrize(("content", "reason"), [(b'{"a": 1', "damaged"), (b"[1]", "found list"), (b"\xff", "damaged")])
def test_json_that_is_no_object_is_refused_by_name(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=reason) as caught:
        files.read_json(tmp_path / "state.json")
    assert str(tmp_path / "state.json") in str(caught.value)


def test_a_missing_file_is_an_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot read .*: No such file"):
        files.read_json(tmp_path / "state.json")
