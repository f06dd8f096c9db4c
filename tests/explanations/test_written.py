"""Descriptions by a writer: classes of answers, what the writer is shown, and what is kept when it fails."""

import pytest
from explanations.letters import LETTERS, SILENT, Reader, letter_dictionary
from tiny import tiny_model

from bathyscope.errors import ArtifactError, ConfigError, ModelError
from bathyscope.explanations import written
from bathyscope.explanations.explain import explain
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.explanations.passages import PassageSettings, halves
from bathyscope.explanations.written import (
    WriteSettings,
    Written,
    chosen_features,
    majority,
    outcome,
    write_explanations,
)
from bathyscope.models.writers.writer import Answer, Verdict

SETTINGS = WriteSettings(n_features=4, min_fires=20, n_quiet=2)


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        ("  names of ships\n\nBecause …", "explained", "names of ships"),
        ('Answer: "names of ships."', "explained", "names of ships"),
        ("Cannot tell.", "cannot tell", ""),
        ("I cannot tell what they share", "cannot tell", ""),
        ("", "no answer", ""),
        (" \n ", "no answer", ""),
        ("blah " * 40, "no answer", ""),
    ],
)
def test_an_answer_is_of_one_class(said, kind, text):
    assert outcome(Answer(said, True), n_words=12) == (kind, text)


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        (("Yes", "No", "No"), "No"),
        (("Yes", "No", "no answer"), "Yes"),
        (("no answer", "no answer", "No"), "No"),
        (("no answer",), ""),
        ((), ""),
    ],
)
def test_the_majority_counts_answers_alone(votes, verdict):
    assert majority(votes) == verdict


def test_the_writer_sees_passages_of_the_explaining_half_alone(letter_world, tmp_path):
    writer = Reader()
    write_explanations(letter_world, writer, out=tmp_path / "w", settings=SETTINGS, answers=tmp_path / "a.jsonl")
    features = chosen_features(letter_world, SETTINGS)
    assert len(writer.asked) == len(features) == 4
    for feature, asked in zip(features, writer.asked, strict=True):
        explaining, scoring = halves(letter_world, feature, PassageSettings())
        shown = [p for p in explaining if f"- {p.marked()}\n" in asked]
        hidden = [p for p in scoring if f"- {p.marked()}\n" in asked]
        texts = {p.marked() for p in shown}
        assert len(shown) >= 2 and all(p.marked() in texts for p in hidden), "but for equal texts"
        assert f"<<{LETTERS[feature]}>>" in asked and "Passages without any mark:\n- " in asked


def test_rows_say_what_became_of_every_feature(letter_world, tmp_path):
    settings = WriteSettings(only=(0, 1, SILENT))
    found = write_explanations(
        letter_world, Reader(says="cannot tell"), out=tmp_path / "w", settings=settings, answers=tmp_path / "a.jsonl"
    )
    assert [(row.feature, row.outcome) for row in found.rows] == [
        (0, "cannot tell"),
        (1, "cannot tell"),
        (SILENT, "too few examples"),
    ]
    assert found.texts == {} and found.explained_rate is None and Written(tmp_path / "w").rows == found.rows


def test_descriptions_from_words_are_verified_by_a_majority(letter_world, tmp_path):
    method = MutualInformation(n_words=50, words_per_feature=5, n_random=40)
    words = explain(
        letter_world, method, model=tiny_model(), dictionary=letter_dictionary(), out=tmp_path / "explanations"
    )
    settings = WriteSettings(only=(0, 1), source="words", n_votes=3)
    writer = Reader(says="a letter")
    found = write_explanations(
        letter_world, writer, out=tmp_path / "w", words=words, settings=settings, answers=tmp_path / "a.jsonl"
    )
    assert [row.votes for row in found.rows] == [("Yes",) * 3] * 2
    assert found.explained_rate == 1.0
    listed = ", ".join(word.word for word in words.words(0))
    assert f"Words: {listed}\n" in writer.asked[0]


def test_votes_that_are_no_answers_are_counted_as_such(letter_world, tmp_path, monkeypatch):
    method = MutualInformation(n_words=50, words_per_feature=5, n_random=40)
    words = explain(
        letter_world, method, model=tiny_model(), dictionary=letter_dictionary(), out=tmp_path / "explanations"
    )
    writer = Reader()
    monkeypatch.setattr(writer, "choose", lambda questions: [Verdict(p=None) for _ in questions])
    settings = WriteSettings(only=(0,))
    found = write_explanations(
        letter_world, writer, out=tmp_path / "w", words=words, settings=settings, answers=tmp_path / "a.jsonl"
    )
    assert found.rows[0].votes == ("no answer",) * 3 and found.rows[0].verdict == ""
    assert found.explained_rate == 0.0


def test_a_writer_that_fails_half_way_is_asked_only_what_is_left(letter_world, tmp_path, monkeypatch):
    whole = write_explanations(
        letter_world, Reader(), out=tmp_path / "whole", settings=SETTINGS, answers=tmp_path / "whole.jsonl"
    )
    options = {"out": tmp_path / "w", "settings": SETTINGS, "answers": tmp_path / "a.jsonl"}
    monkeypatch.setattr(written, "BATCH", 1)
    with pytest.raises(ModelError, match="TimeoutError"):
        write_explanations(letter_world, Reader(fails_after=3), **options)
    second = Reader()
    again = write_explanations(letter_world, second, **options)
    assert len(second.asked) == 1
    assert (again.path / "written.jsonl").read_bytes() == (whole.path / "written.jsonl").read_bytes()
    assert again.manifest.digest == whole.manifest.digest


def test_the_same_seed_draws_the_same_features_and_another_one_others(letter_world):
    first = chosen_features(letter_world, WriteSettings(n_features=3, min_fires=1))
    assert first == chosen_features(letter_world, WriteSettings(n_features=3, min_fires=1))
    seeds = [WriteSettings(n_features=3, min_fires=1, passages=PassageSettings(seed=seed)) for seed in range(1, 6)]
    assert any(chosen_features(letter_world, settings) != first for settings in seeds)


def test_bad_input_is_refused(letter_world, tmp_path):
    out = tmp_path / "w"
    with pytest.raises(ConfigError, match="words are needed"):
        write_explanations(letter_world, Reader(), out=out, settings=WriteSettings(source="words"))
    with pytest.raises(ConfigError, match="lower min_fires"):
        write_explanations(letter_world, Reader(), out=out, settings=WriteSettings(min_fires=10**6))
    with pytest.raises(ConfigError, match="feature 99 does not exist"):
        write_explanations(letter_world, Reader(), out=out, settings=WriteSettings(only=(99,)))
    with pytest.raises(ArtifactError, match="of kind 'features', expected 'written'"):
        Written(letter_world.path)
