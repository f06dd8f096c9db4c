"""Score rows survive a round trip, infinite ends included."""

import numpy as np
import pytest

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ArtifactError
from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.scores import read_scores, score, write_scores


def write(folder, rows, kind="scores"):
    with artifacts.draft(folder, Recipe(kind=kind, config={})) as work:
        write_scores(work.path, rows)


def test_rows_survive_a_round_trip_with_infinite_ends(tmp_path):
    rows = [
        score("dictionary", "KL", Interval(value=0.5, low=0.25, high=1.0, n=9)),
        score("random dictionary", "KL", Interval(value=2.0, low=-np.inf, high=np.inf, n=1)),
    ]
    write(tmp_path / "scores", rows)
    assert read_scores(tmp_path / "scores") == rows


def test_another_kind_is_refused_by_name(tmp_path):
    write(tmp_path / "features", [], kind="features")
    with pytest.raises(ArtifactError, match="kind 'features', expected 'scores'"):
        read_scores(tmp_path / "features")


def test_an_altered_file_is_refused(tmp_path):
    write(tmp_path / "scores", [score("dictionary", "KL", Interval(value=0.5, low=0.25, high=1.0, n=9))])
    file = tmp_path / "scores" / "scores.jsonl"
    file.write_text(file.read_text().replace("0.5", "0.4"))
    with pytest.raises(ArtifactError, match="altered"):
        read_scores(tmp_path / "scores")
