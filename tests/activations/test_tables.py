"""Columns of JSONL, CSV and Parquet files as documents."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bathyscope.activations.document import Document
from bathyscope.activations.tables import open_table
from bathyscope.errors import ConfigError

WORDS = [f'word {n} \U0001f41f, with "quotes",\nand lines' for n in range(37)]


def write(path: Path, texts: list[str]) -> Path:
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)))
        case ".parquet":
            pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, row_group_size=10)
        case _:
            mark = "\t" if path.suffix == ".tsv" else ","
            cells = ['"' + text.replace('"', '""') + '"' for text in texts]
            path.write_text(f"id{mark}text\n" + "".join(f"{i}{mark}{cell}\n" for i, cell in enumerate(cells)))
    return path


def read(*paths: Path, seed: int | None = None, column: str = "text") -> list[Document]:
    rng = None if seed is None else np.random.default_rng(seed)
    return list(open_table(tuple(paths), column).documents(rng))


each_suffix = pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv", "tsv"])


@each_suffix
def test_rows_are_documents_in_their_own_order(tmp_path: Path, suffix: str) -> None:
    documents = read(write(tmp_path / f"a.{suffix}", WORDS))
    assert [document.text for document in documents] == WORDS
    assert documents[11].source == f"a.{suffix}:text #12"


@each_suffix
def test_a_seed_draws_another_order_of_the_same_rows(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", WORDS)
    assert read(path, seed=3) == read(path, seed=3) != read(path, seed=4)
    assert sorted(read(path, seed=3), key=lambda d: d.source) == sorted(read(path), key=lambda d: d.source)


@each_suffix
def test_several_files_are_one_text(tmp_path: Path, suffix: str) -> None:
    paths = [write(tmp_path / f"{name}.{suffix}", [f"{name}{n}" for n in range(3)]) for name in "ab"]
    assert [document.text for document in read(*paths)] == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert sorted(document.text for document in read(*paths, seed=0)) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert open_table(tuple(paths), "text").record()["name"] == f"2 × *.{suffix}:text"


@each_suffix
def test_a_missing_column_lists_the_nearest(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", WORDS)
    with pytest.raises(ConfigError, match=rf"a\.{suffix} has no column 'texts'; nearest: text"):
        open_table((path,), "texts")


@each_suffix
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        open_table((tmp_path / f"a.{suffix}",), "text")
    assert f"a.{suffix}" in str(caught.value) and "\n" not in str(caught.value)


def test_null_and_blank_rows_become_empty_documents(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": null}\n{"other": 1}\n{"text": "five"}')
    documents = read(tmp_path / "a.jsonl")
    assert [document.text for document in documents] == ["one", "", "", "", "five"]
    assert documents[-1].source == "a.jsonl:text #5"


def test_conversations_keep_their_turns(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": [{**turn, "id": 1} for turn in turns]}))
    pq.write_table(pa.table({"messages": [turns]}), tmp_path / "a.parquet")
    for suffix in ("jsonl", "parquet"):
        (document,) = read(tmp_path / f"a.{suffix}", column="messages")
        assert document.text == "Where?\n\nThere."
        assert list(document.messages) == turns


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2: expected a JSON object, found list"),
        ('{"text": 5}', "#2 holds int, expected text"),
        ('{"text": ["a"]}', "#2 holds list, expected text"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(ConfigError, match=reason):
        read(tmp_path / "a.jsonl")
