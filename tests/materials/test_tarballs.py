"""Materials from npm tarballs made on the spot; npm is replaced, nothing is downloaded."""

import dataclasses
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from bathyscope import materials
from bathyscope.errors import ArtifactError, ModelError
from bathyscope.material_entry import MaterialEntry, MaterialFile
from bathyscope.materials import fetch

LETTERS = {"package/data/b/2.json": b'{"text": "two"}\n', "package/data/a/1.json": b'{"text": "one"}'}
JOINED = b'{"text": "one"}\n{"text": "two"}\n'
ARCHIVE = "shore-letters-1.0.0.tgz"


class FakeNpm:
    """Stands in for `subprocess.run`: puts a tarball where npm would."""

    def __init__(self, tarball: Path | None) -> None:
        self.tarball, self.commands = tarball, list[list[str]]()

    def __call__(self, command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.tarball is not None:
            target = Path(command[command.index("--pack-destination") + 1]) / ARCHIVE
            target.write_bytes(self.tarball.read_bytes())
        return subprocess.CompletedProcess(command, 0 if self.tarball else 1, "", "npm error 404")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_tarball(path: Path, members: dict[str, bytes], *, links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def listed(
    monkeypatch: pytest.MonkeyPatch, tarball: Path, *, served: bool = True, **changes: object
) -> tuple[MaterialEntry, FakeNpm]:
    file = MaterialFile(
        path="package/data/*/*.json",
        size_bytes=len(JOINED),
        sha256=hashlib.sha256(JOINED).hexdigest(),
        format="jsonl",
        column="text",
        saved_as="letters.jsonl",
        joined=True,
    )
    entry = MaterialEntry(
        name="letters",
        source="npm",
        package="@shore/letters",
        version="1.0.0",
        archive=ARCHIVE,
        size_bytes=tarball.stat().st_size,
        sha256=hashlib.sha256(tarball.read_bytes()).hexdigest(),
        licence="CC0-1.0",
        origin="nobody",
        tier=2,
        description="letters",
        files=(dataclasses.replace(file, **changes),),
    )
    npm = FakeNpm(tarball if served else None)
    monkeypatch.setattr(materials, "_entries", lambda: {entry.name: entry})
    monkeypatch.setattr(materials.subprocess, "run", npm)
    monkeypatch.setattr(materials.shutil, "which", lambda name: f"/bin/{name}")
    return entry, npm


def test_matching_members_become_one_file_in_order_of_their_names(tmp_path, monkeypatch):
    others = {"package/package.json": b"{}", "package/data/c.json": b"{}", "package/data/a/b/3.json": b"{}"}
    _, npm = listed(monkeypatch, make_tarball(tmp_path / "made.tgz", {**LETTERS, **others}))
    assert fetch("letters").files["letters.jsonl"].read_bytes() == JOINED
    assert npm.commands[0][1:4] == ["pack", "--ignore-scripts", "--silent"]
    assert npm.commands[0][-1] == "@shore/letters@1.0.0"


def test_a_single_member_of_a_tarball_is_taken_as_it_is(tmp_path, monkeypatch):
    data = LETTERS["package/data/b/2.json"]
    changes = {"joined": False, "path": "package/data/b/2.json", "saved_as": "", "size_bytes": len(data)}
    tarball = make_tarball(tmp_path / "made.tgz", LETTERS)
    listed(monkeypatch, tarball, **changes, sha256=hashlib.sha256(data).hexdigest())
    assert fetch("letters").files["2.json"].read_bytes() == data


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "package/../../evil.txt", "..\\evil.txt", "C:/evil"])
def test_a_tarball_with_a_member_outside_itself_is_refused(name, tmp_path, monkeypatch):
    listed(monkeypatch, make_tarball(tmp_path / "evil.tgz", {**LETTERS, name: b"evil"}))
    with pytest.raises(ArtifactError, match="a path outside the archive"):
        fetch("letters")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_tarball_with_a_link_is_refused(tmp_path, monkeypatch):
    tarball = make_tarball(tmp_path / "evil.tgz", LETTERS, links={"package/data/a/9.json": "/etc/hostname"})
    listed(monkeypatch, tarball)
    with pytest.raises(ArtifactError, match="is a link"):
        fetch("letters")


def test_members_that_are_larger_than_stated_together_are_refused(tmp_path, cache, monkeypatch):
    listed(monkeypatch, make_tarball(tmp_path / "bomb.tgz", {**LETTERS, "package/data/a/0.json": bytes(10_000_000)}))
    with pytest.raises(ArtifactError, match=f"larger than the {len(JOINED)} bytes"):
        fetch("letters")
    assert not (cache / "materials" / "letters-1.0.0").exists()


def test_a_member_of_several_lines_cannot_be_joined(tmp_path, monkeypatch):
    listed(monkeypatch, make_tarball(tmp_path / "made.tgz", {"package/data/a/1.json": b'{"text":\n"one"}'}))
    with pytest.raises(ArtifactError, match=r"1.json is not a single line"):
        fetch("letters")


def test_a_cut_off_tarball_is_named(tmp_path, monkeypatch):
    tarball = make_tarball(tmp_path / "made.tgz", LETTERS)
    tarball.write_bytes(tarball.read_bytes()[:60])
    listed(monkeypatch, tarball)
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        fetch("letters")


def test_without_npm_one_line_says_what_to_do(tmp_path, cache, monkeypatch):
    entry, npm = listed(monkeypatch, make_tarball(tmp_path / "made.tgz", LETTERS))
    monkeypatch.setattr(materials.shutil, "which", lambda name: None)
    with pytest.raises(ModelError) as caught:
        fetch("letters")
    assert "npm is missing" in str(caught.value)
    assert f"put the file {entry.archive} (sha256 {entry.sha256}) into {cache / 'tarballs'}" in str(caught.value)
    assert not npm.commands


def test_a_failed_npm_download_names_npm(tmp_path, monkeypatch):
    listed(monkeypatch, make_tarball(tmp_path / "made.tgz", LETTERS), served=False)
    with pytest.raises(ModelError, match=r"npm could not download @shore/letters==1.0.0: check the network"):
        fetch("letters")


def test_a_tarball_put_into_the_cache_by_hand_is_taken(tmp_path, cache, monkeypatch):
    tarball = make_tarball(tmp_path / "made.tgz", LETTERS)
    _, npm = listed(monkeypatch, tarball, served=False)
    (cache / "tarballs").mkdir(parents=True)
    (cache / "tarballs" / ARCHIVE).write_bytes(tarball.read_bytes())
    assert fetch("letters").files["letters.jsonl"].read_bytes() == JOINED
    assert not npm.commands
