"""Text files and folders: order, what is skipped, encodings."""

import logging
from pathlib import Path

import numpy as np
import pytest

from bathyscope.activations.files import decode, open_files, open_folder, sha256_of_files
from bathyscope.errors import ConfigError


def sources(folder: Path, seed: int | None = None) -> list[str]:
    rng = None if seed is None else np.random.default_rng(seed)
    return [document.source for document in open_folder(folder).documents(rng)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    for name in ("b.txt", "a.md", "deep/er/c.py", ".hidden.txt", ".git/d.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"text of {name}")
    return folder


def test_a_folder_is_read_sorted_and_without_hidden_files(folder: Path) -> None:
    assert sources(folder) == ["notes/a.md", "notes/b.txt", "notes/deep/er/c.py"]


def test_the_order_is_drawn_from_the_seed(folder: Path) -> None:
    for n in range(20):
        (folder / f"{n}.txt").write_text("x")
    assert sources(folder, seed=1) == sources(folder, seed=1) != sources(folder, seed=2)
    assert sorted(sources(folder, seed=1)) == sorted(sources(folder))


def test_binary_files_are_skipped_with_one_line(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "image.png").write_bytes(b"\x89PNG\0\0")
    (folder / "model.bin").write_bytes(bytes(range(256)))
    assert len(sources(folder)) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "notes: skipped 2 files that are not text, such as image.png"
    ]


def test_tables_in_a_folder_are_skipped_with_the_remedy(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "rows.jsonl").write_text('{"text": "x"}')
    assert len(sources(folder)) == 3
    assert "notes/*.jsonl:text" in caplog.text


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no text files"):
        open_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"empty\.txt holds no text: the file is empty"):
        open_files([tmp_path / "empty.txt"])


def test_a_binary_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text\0more")
    with pytest.raises(ConfigError, match=r"a\.txt is not a text file"):
        open_files([tmp_path / "a.txt"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_decide_the_encoding(encoding: str) -> None:
    assert decode("Ωcean € 🐙\r\n".encode(encoding), name="a.txt") == "Ωcean € 🐙\n"


def test_a_python_file_says_its_own_encoding() -> None:
    assert decode("# -*- coding: cp1252 -*-\nx = '€'\n".encode("cp1252"), name="a.py") == (
        "# -*- coding: cp1252 -*-\nx = '€'\n"
    )


def test_other_bytes_are_read_as_latin_1_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    assert decode("café".encode("latin-1"), name="a.txt") == "café"
    assert caplog.record_tuples[0][1:] == (logging.WARNING, "a.txt is not UTF-8 and is read as Latin-1")


def test_bytes_with_control_characters_are_binary() -> None:
    assert decode(b"\xff\xfd\x01\x02", name="a.txt") is None


def test_the_record_changes_with_a_name_or_a_content(folder: Path) -> None:
    first = open_folder(folder).record()
    assert first["name"] == "notes" and first["licence"] == "not stated"
    (folder / "a.md").write_text("changed")
    second = open_folder(folder).record()
    (folder / "a.md").rename(folder / "z.md")
    third = open_folder(folder).record()
    assert len({record["sha256"] for record in (first, second, third)}) == 3


def test_one_file_keeps_its_own_checksum(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_of_files(tmp_path, [tmp_path / "a.txt"]) == empty
