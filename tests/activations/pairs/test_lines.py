"""Pairs as JSON lines: what each column means, and every fault with its line number."""

import json
import logging

import pytest
from activations.pairs.small_pairs import TEXTS

from bathyscope.activations.pairs.lines import pair_lines, read_pairs
from bathyscope.errors import ConfigError


def written(tmp_path, *rows):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_changed_alone_is_known_with_unchanged_partly_known_and_neither_unknown(tmp_path):
    pairs = read_pairs(written(
        tmp_path,
        {"before": "a", "after": "b", "changed": ["tense"]},
        {"before": "c", "after": "d", "changed": ["tense"], "unchanged": ["mood"]},
        {"before": "e", "after": "f"},
        {"before": "g", "after": "h", "changed": []},
        {"before": "i", "after": "j", "support": {"number": True, "mood": False}},
        {"before": "k", "after": "l", "values_before": {"mood": "x"}, "values_after": {"mood": "y"}},
    ))  # fmt: skip
    assert pairs.factors == ("tense", "mood", "number")
    assert pairs.support.tolist() == [[1, 0, 0], [1, 0, -1], [-1, -1, -1], [0, 0, 0], [-1, 0, 1], [-1, 1, -1]]
    assert pairs.name == "mine" and pairs.pairs[2].source == "mine.jsonl, line 3"
    assert pairs.materials[0]["name"] == "mine.jsonl" and len(pairs.materials[0]["sha256"]) == 64


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"before": "a"}, "unpaired: it has no side 'after'"),
        ({"text": "a"}, "unpaired: it has no side 'before' and no side 'after'"),
        ({"before": "a", "after": "a"}, "both sides are equal"),
        ({"before": "a", "after": ""}, "the side 'after' is empty"),
        ({"before": "a", "after": None}, "'after' is NoneType, expected text"),
        ({"before": "a", "after": "b", "changed": "tense"}, "expected a list of factors"),
        ({"before": "a", "after": "b", "support": {"x": "yes"}}, "expected an object of true/false"),
        ({"before": "a", "after": "b", "changed": ["x"], "unchanged": ["x"]}, "listed as changed and as unchanged"),
        ('{"before": "a",', "not JSON"),
        ('["a", "b"]', "found list"),
    ],
)
def test_each_fault_is_named_with_its_line(tmp_path, row, reason):
    good = {"before": "x", "after": "y"}
    with pytest.raises(ConfigError, match=reason) as refused:
        read_pairs(written(tmp_path, good, "", row, good))
    assert "mine.jsonl, line 3: " in str(refused.value) and "more lines" not in str(refused.value)


def test_other_faulty_lines_are_counted_and_numbered(tmp_path):
    rows = [{"before": "a", "after": "b"}, *[{"before": str(i)} for i in range(12)]]
    with pytest.raises(ConfigError, match=r"line 2: .*; 11 more lines have faults \(3, 4, 5, 6, 7, 8, 9, 10, …\)"):
        read_pairs(written(tmp_path, *rows))


def test_an_empty_or_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no file of pairs at"):
        read_pairs(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="holds no pairs"):
        read_pairs(written(tmp_path, "", ""))


def test_unknown_columns_are_named_once(tmp_path, caplog):
    path = written(tmp_path, {"before": "a", "after": "b", "score": 1}, {"before": "c", "after": "d", "score": 2})
    with caplog.at_level(logging.WARNING):
        read_pairs(path)
    assert [record.getMessage() for record in caplog.records] == [
        "mine.jsonl: columns that mean nothing here are ignored: score"
    ]


def test_what_is_written_is_read_back_whole(tmp_path):
    path = tmp_path / "again.jsonl"
    path.write_bytes(pair_lines(TEXTS))
    again = read_pairs(path, factors=TEXTS.factors)
    assert again.digest == TEXTS.digest
    assert (again.support == TEXTS.support).all() and again.groups == TEXTS.groups


def test_given_factors_are_a_closed_list(tmp_path):
    with pytest.raises(ConfigError, match="'tense', which is no factor of the set"):
        read_pairs(written(tmp_path, {"before": "a", "after": "b", "changed": ["tense"]}), factors=("mood",))
