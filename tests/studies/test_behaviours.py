"""Log-odds are what the model says, erasing takes away what it should, and no strength is too successful."""

import numpy as np
import pytest
import torch

from bathyscope.evaluation.labelled import LabelledSet
from bathyscope.models.log_probs import log_probs
from bathyscope.models.prompts import prompt_tokens
from bathyscope.studies import behaviours
from bathyscope.vectors.vector import SteeringVector, Units

CASE = behaviours.Case("Is it big?", "It is.", "No.")
CHAT, TEXT = (
    behaviours.Behaviour(
        name="size",
        labelled=LabelledSet(name="size", question="big", examples=()),
        aims=("raised",),
        cases=(CASE,),
        request="Be big.",
        is_chat=is_chat,
    )
    for is_chat in (True, False)
)


def test_likelihoods_in_a_chat_are_those_of_prompt_and_answer_read_together(tiny_model):
    found_N2 = behaviours.log_p(tiny_model, CHAT, [CASE], behaviours.Way(name="asked", request="Be kind."))
    prefix = prompt_tokens(tiny_model, CASE.prompt, system="Be kind.")
    for answer, found in zip((CASE.wanted, CASE.other), found_N2[0], strict=True):
        own = behaviours.bare_tokens(tiny_model, answer)
        (whole_S,) = log_probs(tiny_model, [[*prefix, *own]])
        assert found == pytest.approx(float(whole_S[-len(own) :].mean()), abs=1e-5)


def test_what_a_prompt_asks_stands_before_a_statement(tiny_model):
    asked_N2 = behaviours.log_p(tiny_model, TEXT, [CASE], behaviours.Way(name="asked", request="False: "))
    written = CASE._replace(prompt=f"False: {CASE.prompt}")
    assert np.array_equal(asked_N2, behaviours.log_p(tiny_model, TEXT, [written], behaviours.Way(name="plain")))
    assert not np.allclose(asked_N2, behaviours.log_p(tiny_model, TEXT, [CASE], behaviours.Way(name="plain")))


@pytest.mark.parametrize(("factor", "left"), [(1.0, 2.0), (2.0, -1.0)])
def test_erasing_takes_away_what_lies_above_other_texts(factor, left):
    direction_D = torch.tensor([3.0, 0.0, 4.0])
    vector = SteeringVector(directions={"layers.0": direction_D}, units={"layers.0": Units(norm=7.0)})
    erase = behaviours._operation(behaviours.Taught(vector=vector, without=2.0), factor, "erased")
    x_ND = torch.tensor([[5 * 0.6, 9.0, 5 * 0.8]])  # 5 along the direction, where other texts have 2
    after_D = (x_ND + erase.delta(x_ND))[0]
    assert float(after_D @ vector.direction()) == pytest.approx(left, abs=1e-5)
    assert float(after_D[1]) == 9.0


def test_knowledge_that_is_turned_round_is_not_gone():
    assert behaviours._success(0.1, "erased") > behaviours._success(-3.0, "erased")
    assert behaviours._success(-3.0, "lowered") > behaviours._success(0.1, "lowered")
