"""Passages are what the index says, and no document stands in both halves."""

from dataclasses import replace

import pytest
from explanations.letters import LETTERS

from bathyscope.errors import ConfigError
from bathyscope.explanations.passages import PassageSettings, halves, mark, spread

SETTINGS = PassageSettings()


@pytest.mark.parametrize("seed", [0, 1])
def test_no_document_is_explained_from_and_scored_on(letter_world, seed):
    for feature in range(len(LETTERS)):
        explaining, scoring = halves(letter_world, feature, PassageSettings(seed=seed))
        assert explaining and scoring
        assert {p.document for p in explaining}.isdisjoint(p.document for p in scoring)


def test_a_passage_holds_what_the_feature_does_on_its_text(letter_world):
    for feature, letter in enumerate(LETTERS):
        for passage in (p for half in halves(letter_world, feature, SETTINGS) for p in half):
            assert len(passage.strings) == len(passage.values) <= SETTINGS.before + 1 + SETTINGS.after
            assert passage.marks == tuple(string == letter for string in passage.strings)
            assert passage.fires == (letter in passage.text)
            assert ("<<" in passage.marked()) == passage.fires
            assert not any("<|" in string for string in passage.strings), "marks of the chat format are left out"


def test_each_passage_stands_once_and_draws_do_not_depend_on_order(letter_world):
    found = halves(letter_world, 0, SETTINGS)
    assert found == halves(letter_world, 0, SETTINGS)
    tokens = [p.token for half in found for p in half]
    assert len(set(tokens)) == len(tokens)
    assert halves(letter_world, 0, PassageSettings(seed=1)) != found


def test_groups_take_turns_until_each_runs_out(letter_world):
    one = halves(letter_world, 0, SETTINGS).scoring[0]
    passages = [replace(one, group=group, token=token) for token, group in enumerate(["silent"] * 3 + ["near miss"])]
    chosen = spread(passages, ("near miss", "silent"), n=3)
    assert [p.token for p in chosen] == [3, 0, 1]
    assert spread(passages, ("high",), n=3) == []


def test_marks_stand_around_runs_of_tokens():
    strings = ("a", " b", " c", " d")
    assert mark(strings, (False, True, True, False)) == "a<< b c>> d"
    assert mark(strings, (True, False, False, True)) == "<<a>> b c<< d>>"
    assert mark(strings, (False,) * 4) == "a b c d"


@pytest.mark.parametrize("changes", [{"before": -1}, {"after": -1}, {"marked_share": 0.0}, {"marked_share": 1.5}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match="at least 0 tokens"):
        PassageSettings(**changes)
