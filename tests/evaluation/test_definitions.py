"""Concept definitions: what ships reads well, what a person gets wrong is named."""

import re

import pytest

from bathyscope.errors import ConfigError
from bathyscope.evaluation.definitions import read_definitions, read_labelled, safety_definitions
from bathyscope.evaluation.labelled import draw_task

GOOD = '[sea]\nquestion = "of the sea"\nwords = ["sea"]\npairs = [["waves", "hills"], ["a ship", "a cart"]]\n'


@pytest.mark.parametrize("definition", safety_definitions(), ids=lambda each: each.labelled.name)
def test_every_safety_concept_can_be_halved_and_has_words(definition):
    task = draw_task(definition.labelled, n_texts=400, seed=0)
    assert len(task.texts) >= 44, "no pair repeats another's sentence"
    assert len(definition.words) >= 5
    assert not set(task.groups_T[task.is_train_T]) & set(task.groups_T[~task.is_train_T])


def test_the_sentences_of_a_pair_are_of_like_length():
    for definition in safety_definitions():
        lengths = {True: 0, False: 0}
        for example in definition.labelled.examples:
            lengths[example.label] += len(re.findall(r"\w+", example.text))
        assert 0.7 < lengths[True] / lengths[False] < 1.3, definition.labelled.name


def test_a_file_is_read_pair_by_pair(tmp_path):
    (tmp_path / "own.toml").write_text(GOOD)
    (definition,) = read_definitions(tmp_path / "own.toml")
    assert (definition.labelled.name, definition.labelled.question, definition.words) == ("sea", "of the sea", ("sea",))
    assert [(e.text, e.label, e.group, e.is_hard) for e in definition.labelled.examples] == [
        ("waves", True, "pair 0", False),
        ("hills", False, "pair 0", True),
        ("a ship", True, "pair 1", False),
        ("a cart", False, "pair 1", True),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no concept"),
        ("[sea]\npairs = [['a']]", r"pair 0 of \[sea\]"),
        ("[sea]\nwords = ['a']", "needs `pairs`"),
        ("[sea]\npairs = []\nnote = 'x'", "nothing else"),
        ("[sea]\npairs = 'a'", "`pairs`"),
        ("[sea", "TOML"),
    ],
)
def test_what_is_wrong_with_a_definition_is_named(tmp_path, text, message):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_definitions(tmp_path / "own.toml")


def test_labelled_lines_are_read_and_faults_named_by_line(tmp_path):
    file = tmp_path / "mail.jsonl"
    file.write_text('{"text": "a", "label": true, "group": "g"}\n\n{"text": "b", "label": false}\n')
    read = read_labelled(file)
    assert read.name == "mail"
    assert [(e.text, e.label, e.group) for e in read.examples] == [("a", True, "g"), ("b", False, "mail.jsonl, line 3")]
    file.write_text('{"text": "a", "label": true}\n{"text": "a", "label": 1}\n')
    with pytest.raises(ConfigError, match=r"mail.jsonl, line 2: expected"):
        read_labelled(file)
    file.write_text('{"text": "a", "label": false, "hard": true}\n{"text": "b", "label": true, "hard": true}\n')
    with pytest.raises(ConfigError, match='line 2: "hard"'):
        read_labelled(file)
    file.write_text(file.read_text().splitlines()[0])
    assert read_labelled(file).examples[0].is_hard
    file.write_text("no json\n")
    with pytest.raises(ConfigError, match="line 1 is not JSON"):
        read_labelled(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labelled(tmp_path / "missing.jsonl")
