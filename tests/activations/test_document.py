"""Which strings are documents, where long ones are cut, how a missing column is reported."""

import pytest

from bathyscope.activations.document import Document, cut, cut_text, fault, require_column
from bathyscope.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word", ""),
        ("", "empty"),
        (" \n\t", "empty"),
        ("a\0b", "holding NUL characters"),
        ("\ud800", "not valid Unicode"),
        ("\U0001f419", ""),
    ],
)
def test_a_fault_is_named(text: str, reason: str) -> None:
    assert fault(text) == reason


@pytest.mark.parametrize("text", ["x" * 1000, "word " * 200, "line of text\n" * 77, "a\n\nb" * 99, "", "ab"])
@pytest.mark.parametrize("limit", [7, 50, 2000])
def test_parts_join_to_the_text_and_keep_the_limit(text: str, limit: int) -> None:
    parts = cut_text(text, limit=limit)
    assert "".join(parts) == text
    assert all(len(part) <= limit for part in parts)
    assert all(parts) or not text


def test_a_cut_falls_on_the_best_break_of_the_second_half() -> None:
    assert cut_text("aa\n\nbbbb cc\ndd ee\n\nff gg hhhhhhhh", limit=20)[0] == "aa\n\nbbbb cc\ndd ee\n\n"
    assert cut_text("aa\n\nbbbb cc\ndd ee ff gg hhhhhhhh", limit=20)[0] == "aa\n\nbbbb cc\n"
    assert cut_text("aa\n\nbbbb cc dd ee ff gg hhhhhhhh", limit=20)[0] == "aa\n\nbbbb cc dd ee "
    assert cut_text("aa\n\n" + "b" * 40, limit=20)[0] == "aa\n\n" + "b" * 16


def test_parts_are_numbered_and_conversations_stay_whole() -> None:
    assert [part.source for part in cut(Document("one two three", "notes.txt"), limit=8)] == [
        "notes.txt, part 1",
        "notes.txt, part 2",
    ]
    talk = Document("one two three", "talk", ({"role": "user", "content": "one two three"},))
    assert cut(talk, limit=5) == [talk]
    assert cut(Document("one two", "x"), limit=0) == [Document("one two", "x")]


def test_a_missing_column_lists_the_nearest() -> None:
    require_column("text", ["id", "text"], where="a.jsonl")
    with pytest.raises(ConfigError, match=r"a\.jsonl has no column 'txt'; nearest: text .*a\.jsonl:text"):
        require_column("txt", ["id", "text"], where="a.jsonl")
    with pytest.raises(ConfigError, match="it has no columns"):
        require_column("text", [], where="a.jsonl")
