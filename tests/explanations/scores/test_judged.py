"""Judging end to end in a world where the truth is known: a judge who can read, one who babbles, one who goes away."""

import json

import numpy as np
import pytest
from explanations.letters import SILENT, Babbler, Reader, texts
from tiny import tiny_model

from bathyscope.errors import ConfigError, ModelError
from bathyscope.explanations.halves import is_explaining
from bathyscope.explanations.scores.judged import (
    PASSAGES_FILE,
    JudgeSettings,
    RandomFeatures,
    judge_explanations,
    other_explanations,
    scoring_passages,
)

ALL_JUDGED = ("detection", "fuzzing", "simulation", "specificity")


def scores(found) -> dict[tuple[str, str], float]:
    return {(score.subject, score.metric): score.value for score in found}


def judged(index, judge, tmp_path, name="out", *, scorers=ALL_JUDGED, **options):
    return judge_explanations(
        index,
        texts(),
        judge,
        out=tmp_path / name,
        settings=JudgeSettings(scorers=scorers, n_firing=4, n_quiet=4),
        answers=tmp_path / f"{name}.jsonl",
        **options,
    )


def test_right_explanations_are_found_right_and_shuffled_ones_are_not(letter_world, tmp_path):
    found = scores(judged(letter_world, Reader(), tmp_path))
    for metric in ("detection: balanced accuracy", "fuzzing: balanced accuracy", "simulation: correlation"):
        assert found["own", metric] == pytest.approx(1.0)
        assert found["shuffled", metric] < 0.6
        assert found["own minus shuffled", metric] > 0.4
        assert found["own", metric.partition(":")[0] + ": share without an answer"] == 0.0
        assert ("calibration", metric) in found or metric.startswith("simulation")
    assert found["own", "specificity: mean level (high)"] == 3.0
    assert (tmp_path / "out" / "table.md").read_text().startswith("6 of 8 explained features; passages")


def test_detection_is_a_ranking_too(letter_world, tmp_path):
    found = scores(judged(letter_world, Reader(), tmp_path, scorers=("detection",)))
    assert found["own", "detection: AUC"] == pytest.approx(1.0)
    assert found["shuffled", "detection: AUC"] < 0.6


def test_random_features_stand_beside_with_their_own_explanations(letter_world, tmp_path):
    wrong = RandomFeatures(letter_world, other_explanations(texts(), seed=3))
    found = scores(judged(letter_world, Reader(), tmp_path, scorers=("detection",), random=wrong))
    assert found["own", "detection: balanced accuracy"] == pytest.approx(1.0)
    assert found["random feature", "detection: balanced accuracy"] < 0.6
    assert ("random feature", "detection: balanced accuracy (high)") in found


def test_scored_documents_were_not_explained_from(letter_world, tmp_path):
    judged(letter_world, Reader(), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "out" / PASSAGES_FILE).read_text().splitlines()]
    documents = np.array([row["document"] for row in rows if row["condition"] != "calibration"])
    assert len(documents) and not is_explaining(documents, seed=0).any()


def test_an_endpoint_that_tells_no_probabilities_of_given_text_writes_the_strengths(letter_world, tmp_path):
    found = scores(judged(letter_world, Reader(fills=False), tmp_path, scorers=("simulation",)))
    assert found["own", "simulation: correlation"] == pytest.approx(1.0)


def test_answers_that_are_none_are_a_class_of_their_own(letter_world, tmp_path):
    found = scores(judged(letter_world, Babbler(), tmp_path, scorers=("detection",)))
    assert found["own", "detection: share without an answer"] == 1.0
    assert ("own", "detection: balanced accuracy") not in found
    rows = [json.loads(line) for line in (tmp_path / "out" / PASSAGES_FILE).read_text().splitlines()]
    assert rows and all(row["value"] is None for row in rows)


def test_a_judge_that_goes_away_is_asked_only_what_is_left(letter_world, tmp_path):
    first = Reader()
    judged(letter_world, first, tmp_path, "whole")
    with pytest.raises(ModelError, match="TimeoutError"):
        judged(letter_world, Reader(fails_after=100), tmp_path)
    assert not (tmp_path / "out").exists()
    second = Reader()
    judged(letter_world, second, tmp_path)
    assert len(second.asked) <= len(first.asked) - 90, "answers are kept batch by batch"
    for name in ("scores.jsonl", PASSAGES_FILE, "table.md"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_intruder_is_found_without_any_words(letter_world, tmp_path):
    found = scores(judged(letter_world, Reader(), tmp_path, scorers=("intruder",)))
    assert found["own", "intruder: accuracy"] == 1.0
    assert not any(subject == "shuffled" for subject, _ in found)


def test_scorers_that_read_the_subject_model_need_no_judge(letter_world, tmp_path):
    found = scores(judged(letter_world, None, tmp_path, scorers=("embedding",), model=tiny_model()))
    assert found["own", "embedding: AUC"] > 0.4


def test_every_feature_gets_the_explanation_of_another():
    shuffled = other_explanations(texts(), seed=0)
    assert set(shuffled) == set(texts())
    assert all(shuffled[feature] != text for feature, text in texts().items())
    assert all(text in texts().values() for text in shuffled.values())
    assert other_explanations({0: "a", 1: "a", 2: "b"}, seed=0) == {0: "b", 1: "b", 2: "a"}


def test_bad_input_is_refused(letter_world, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="fewer than two different explanations"):
        judge_explanations(letter_world, {0: "a", 1: "a"}, Reader(), out=out)
    with pytest.raises(ConfigError, match="detection asks a judge"):
        judge_explanations(letter_world, texts(), out=out)
    with pytest.raises(ConfigError, match="surprisal reads the subject model"):
        judge_explanations(letter_world, texts(), Reader(), out=out, settings=JudgeSettings(scorers=("surprisal",)))
    with pytest.raises(ConfigError, match="does not exist"):
        judge_explanations(letter_world, {0: "a", 99: "b"}, Reader(), out=out)
    with pytest.raises(ConfigError, match="no feature has 2 firing"):
        scoring_passages(letter_world, [SILENT], JudgeSettings())
    with pytest.raises(ConfigError, match="each once"):
        JudgeSettings(scorers=("detection", "detection"))
