"""The behaviours recipe: its likelihoods, its erasing and its materials, without the real model."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from recipes.recipe import recipe

from bathyscope.models.log_probs import log_probs
from bathyscope.models.prompts import prompt_tokens
from bathyscope.vectors.vector import SteeringVector, Units

run = recipe("behaviours")
MATERIAL = tomllib.loads(run.CASES.read_text("utf-8"))
SETTINGS = run.BehavioursSettings(n_texts=40)
CASE = run.Case("Is it big?", "It is.", "No.")


def behaviour(name):
    return run.BEHAVIOURS[name](MATERIAL, SETTINGS)


@pytest.fixture(params=list(run.BEHAVIOURS))
def each(request):
    return behaviour(request.param)


def test_likelihoods_in_a_chat_are_those_of_prompt_and_answer_read_together(tiny_model):
    found_N2 = run.log_p(tiny_model, behaviour("flattery"), [CASE], run.Way(name="asked", request="Be kind."))
    prefix = prompt_tokens(tiny_model, CASE.prompt, system="Be kind.")
    for answer, found in zip((CASE.wanted, CASE.other), found_N2[0], strict=True):
        own = run.bare_tokens(tiny_model, answer)
        (whole_S,) = log_probs(tiny_model, [[*prefix, *own]])
        assert found == pytest.approx(float(whole_S[-len(own) :].mean()), abs=1e-5)


def test_what_a_prompt_asks_stands_before_a_statement(tiny_model):
    facts = behaviour("false claims")
    asked_N2 = run.log_p(tiny_model, facts, [CASE], run.Way(name="asked", request="False: "))
    written = CASE._replace(prompt=f"False: {CASE.prompt}")
    assert np.array_equal(asked_N2, run.log_p(tiny_model, facts, [written], run.Way(name="plain")))
    assert not np.allclose(asked_N2, run.log_p(tiny_model, facts, [CASE], run.Way(name="plain")))


@pytest.mark.parametrize(("factor", "left"), [(1.0, 2.0), (2.0, -1.0)])
def test_erasing_takes_away_what_lies_above_other_texts(factor, left):
    direction_D = torch.tensor([3.0, 0.0, 4.0])
    vector = SteeringVector(directions={"layers.0": direction_D}, units={"layers.0": Units(norm=7.0)})
    erase = run._operation(run.Taught(vector=vector, without=2.0), factor, "erased")
    x_ND = torch.tensor([[5 * 0.6, 9.0, 5 * 0.8]])  # 5 along the direction, where other texts have 2
    after_D = (x_ND + erase.delta(x_ND))[0]
    assert float(after_D @ vector.direction()) == pytest.approx(left, abs=1e-5)
    assert float(after_D[1]) == 9.0


def test_knowledge_that_is_turned_round_is_not_gone():
    assert run._success(0.1, "erased") > run._success(-3.0, "erased")
    assert run._success(-3.0, "lowered") > run._success(0.1, "lowered")


def test_cases_to_choose_on_and_to_report_on_are_different_ones(each):
    choose, report = run.halves(each.cases, SETTINGS)
    assert len(choose) == SETTINGS.n_choose and len(report) >= 12
    assert not set(choose) & set(report)
    assert run.halves(each.cases, replace(SETTINGS, seed=1)) != (choose, report)


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
