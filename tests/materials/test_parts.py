"""A file spread over several packages is put together in their order, checked as a whole, and resumed by archive."""

import dataclasses
import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from bathyscope import materials
from bathyscope.errors import ArtifactError, ModelError
from bathyscope.material_entry import MaterialEntry, MaterialFile, MaterialPart
from bathyscope.materials import fetch

PIECES = [b"one " * 500, b"two " * 500, b"ten " * 77]
WHOLE = b"".join(PIECES)


class FakePip:
    """Stands in for `subprocess.run`: serves the wheels of a folder by package name, and counts its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()

    def __call__(self, command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        requirement = Path(command[command.index("--requirement") + 1]).read_text()
        name = requirement.partition("==")[0].replace("-", "_") + "-1.0-py3-none-any.whl"
        self.asked.append(name)
        there = self.folder / name
        if there.exists():
            (Path(command[command.index("--dest") + 1]) / name).write_bytes(there.read_bytes())
        return subprocess.CompletedProcess(command, 0 if there.exists() else 1, "", "")


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    """Three wheels with a piece each, and the list that names them."""
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "cache"))
    parts: list[MaterialPart] = []
    for number, piece in enumerate(PIECES, start=1):
        name, path = f"song_part{number}-1.0-py3-none-any.whl", f"song_part{number}/data/part{number}.bin"
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr(zipfile.ZipInfo(path), piece)
        data = (tmp_path / name).read_bytes()
        parts.append(
            MaterialPart(
                package=f"song-part{number}",
                archive=name,
                size_bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                path=path,
            )
        )
    fake = FakePip(tmp_path)
    monkeypatch.setattr(materials.subprocess, "run", fake)
    listed(monkeypatch, entry(parts))
    return fake


def entry(parts: list[MaterialPart], **changes: object) -> MaterialEntry:
    file = MaterialFile(
        path=parts[0].path,
        saved_as="song.gguf",
        size_bytes=len(WHOLE),
        sha256=hashlib.sha256(WHOLE).hexdigest(),
        format="gguf",
    )
    made = MaterialEntry(
        name="song",
        source="pypi",
        package=parts[0].package,
        version="1.0",
        archive=parts[0].archive,
        size_bytes=parts[0].size_bytes,
        sha256=parts[0].sha256,
        licence="CC0-1.0",
        origin="nobody",
        tier=3,
        description="a song",
        files=(file,),
        parts=tuple(parts[1:]),
    )
    return dataclasses.replace(made, **changes)


def listed(monkeypatch: pytest.MonkeyPatch, item: MaterialEntry) -> None:
    monkeypatch.setattr(materials, "_entries", lambda: {item.name: item})


def test_pieces_are_joined_in_the_order_of_the_list(pip: FakePip) -> None:
    material = fetch("song")
    assert material.files["song.gguf"].read_bytes() == WHOLE
    assert [path.name for path in material.folder.iterdir()] == ["song.gguf"]
    assert sorted(path.name for path in material.folder.parent.iterdir()) == ["song-1.0", "song-1.0.lock"]
    item = materials.entry("song")
    lines = "".join(f"{piece.sha256}\n" for piece in item.pieces)
    assert material.sha256 == hashlib.sha256(lines.encode()).hexdigest() != item.sha256
    assert item.download_bytes == sum((pip.folder / name).stat().st_size for name in pip.asked)


def test_archives_that_are_whole_are_not_downloaded_twice(pip: FakePip, monkeypatch: pytest.MonkeyPatch) -> None:
    last = pip.folder / "song_part3-1.0-py3-none-any.whl"
    hidden = last.rename(pip.folder / "hidden")
    with pytest.raises(ModelError, match=r"song-part3==1\.0"):
        fetch("song")
    assert not materials.entry("song").cached
    hidden.rename(last)
    assert fetch("song").files["song.gguf"].read_bytes() == WHOLE
    assert [name[9] for name in pip.asked] == ["1", "2", "3", "3"]


def test_an_archive_damaged_while_it_waited_is_named(pip: FakePip) -> None:
    last = pip.folder / "song_part3-1.0-py3-none-any.whl"
    hidden = last.rename(pip.folder / "hidden")
    with pytest.raises(ModelError):
        fetch("song")
    hidden.rename(last)
    waiting = materials.entry("song").folder.with_name("song-1.0.archives") / "song_part2-1.0-py3-none-any.whl"
    waiting.write_bytes(waiting.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"song_part2.* is not the pinned song-part2==1.0 .* delete it"):
        fetch("song")


def test_pieces_in_another_order_are_another_file(pip: FakePip, monkeypatch: pytest.MonkeyPatch) -> None:
    item = materials.entry("song")
    listed(monkeypatch, dataclasses.replace(item, parts=item.parts[::-1]))
    with pytest.raises(ArtifactError, match="is not the listed file"):
        fetch("song")


def test_pieces_that_are_longer_than_the_file_are_cut_off_and_refused(
    pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = materials.entry("song")
    file = dataclasses.replace(item.files[0], size_bytes=len(WHOLE) - 1)
    listed(monkeypatch, dataclasses.replace(item, files=(file,)))
    with pytest.raises(ArtifactError, match="larger than the"):
        fetch("song")
    assert not item.cached


def test_archives_put_into_the_cache_by_hand_are_taken(pip: FakePip, tmp_path: Path) -> None:
    wheels = tmp_path / "cache" / "wheels"
    wheels.mkdir(parents=True)
    for wheel in tmp_path.glob("song_part*.whl"):
        wheel.rename(wheels / wheel.name)
    assert fetch("song").files["song.gguf"].read_bytes() == WHOLE
    assert pip.asked == [] and len(list(wheels.iterdir())) == 3
