"""Materials and ratings of the behaviours recipe, without the real model."""

import tomllib
from dataclasses import replace

import pytest
from recipes.recipe import recipe

from bathyscope.studies.behaviours import halves

run = recipe("behaviours")
MATERIAL = tomllib.loads(run.CASES.read_text("utf-8"))
SETTINGS = run.BehavioursSettings(n_texts=40)


def behaviour(name):
    return run.BEHAVIOURS[name](MATERIAL, SETTINGS)


@pytest.fixture(params=list(run.BEHAVIOURS))
def each(request):
    return behaviour(request.param)


def test_cases_to_choose_on_and_to_report_on_are_different_ones(each):
    choose, report = halves(each.cases, SETTINGS)
    assert len(choose) == SETTINGS.n_choose and len(report) >= 12
    assert not set(choose) & set(report)
    assert halves(each.cases, replace(SETTINGS, seed=1)) != (choose, report)


def test_no_case_teaches_a_direction(each):
    cases = (*each.cases, *each.elsewhere)
    assert len({case.prompt for case in cases}) == len(cases)
    assert all(case.wanted != case.other for case in cases)
    for example in each.labelled.examples:
        assert not any(case.prompt in example.text or case.wanted == example.text for case in cases)


def test_a_text_is_in_the_language_of_most_of_its_words():
    french = behaviour("language").rate
    for case in behaviour("language").cases:
        assert french(case.wanted) == 1 and french(case.other) == 0
    assert french("") == 0


def test_praise_is_counted_once_a_word():
    praise = behaviour("flattery").rate
    assert praise("What an amazing, truly AMAZING and wonderful table!") == 2
    assert praise("The legs are of unequal length.") == 0
