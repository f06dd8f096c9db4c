"""Expected ranges: what is outside is named."""

import json

import pytest

from bathyscope.errors import ConfigError
from bathyscope.evaluation.expected import outside, read_expected


def test_what_is_outside_missing_or_not_a_number_is_named():
    expected = {"a": (0.0, 1.0), "b": (2.0, 3.0), "c": (0.0, 1.0), "d": (0.0, 1.0)}
    lines = outside({"a": 1.0, "b": 1.9, "c": float("nan")}, expected)
    assert lines == ["b is 1.9, expected 2 to 3", "c is nan, expected 0 to 1", "d was not measured"]


def test_ranges_are_read_by_size_and_what_is_none_is_refused(tmp_path):
    file = tmp_path / "expected.json"
    file.write_text(json.dumps({"full": {"a": [0, 1]}, "odd": {"b": [2, 1]}, "text": {"c": ["0", 1]}}))
    assert read_expected(file, "full") == {"a": (0.0, 1.0)}
    for size in ("odd", "text", "none"):
        with pytest.raises(ConfigError):
            read_expected(file, size)
