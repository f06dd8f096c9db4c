"""`bathyscope write` and `judge`: from a finished index to descriptions and their scores; bad input in one line."""

import json

import pytest
from explanations.letters import Reader, letter_index

from bathyscope.cli import judge, main, write


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return letter_index(tmp_path_factory.mktemp("cli") / "features").path


@pytest.fixture
def reader(monkeypatch, tmp_path) -> Reader:
    """Who answers, instead of a model that would be fetched."""
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "cache"))
    one = Reader(says=None)
    for module in (write, judge):
        monkeypatch.setattr(module, "answerer", lambda who, *, seed: one)
    return one


def test_features_are_described_and_the_descriptions_scored(features, reader, tmp_path, capsys):
    written, scores = tmp_path / "w", tmp_path / "s"
    assert main(["write", "--features", str(features), "--out", str(written), "--only", "0", "2", "3"]) == 0
    shown = capsys.readouterr().out
    assert "feature 2  the letter j" in shown and "explained         3" in shown
    words = ["judge", "--features", str(features), "--explanations", str(written), "--n-firing", "2", "--n-quiet", "2"]
    assert main([*words, "--out", str(scores), "--scorers", "detection", "embedding", "--model", "none"]) == 2
    assert "none" in capsys.readouterr().err, "embedding reads the subject model"
    assert main([*words, "--out", str(scores), "--scorers", "detection"]) == 0
    shown = capsys.readouterr().out
    assert "| detection: balanced accuracy | own | 1.000 |" in shown and "| calibration |" in shown
    assert (scores / "table.md").read_text() in shown
    assert main([*words, "--out", str(scores), "--scorers", "detection", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(row.get("metric") == "detection: balanced accuracy" and row["value"] == 1.0 for row in rows)


def test_explanations_that_all_read_alike_cannot_be_shuffled(features, reader, tmp_path, capsys):
    reader.says = "a letter"
    written = tmp_path / "w"
    assert main(["write", "--features", str(features), "--out", str(written), "--only", "0", "2"]) == 0
    words = ["judge", "--features", str(features), "--explanations", str(written), "--out", str(tmp_path / "s")]
    assert main(words) == 2
    assert "fewer than two different explanations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["write", "--source", "words"], "words are needed to write from"),
        (["write", "--only", "99"], "feature 99 does not exist"),
        (["judge", "--explanations", "nothing"], "nothing does not exist"),
        (["judge", "--explanations", "nothing", "--scorers", "guessing"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(features, reader, tmp_path, capsys, words, line):
    assert main([*words, "--features", str(features), "--out", str(tmp_path / "out")]) == 2
    assert line in capsys.readouterr().err
