"""Effects on a fixed text, by hand."""

import math

import pytest
import torch
from steering.worlds import random_dictionary
from tiny import tiny_model

from bathyscope.steering.effects import answer_log_probs, effects
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.steer import steer

TEXTS = [((257, 104, 101, 108), (108, 111, 32)), ((257, 115), (101, 97))]


def test_log_probs_are_those_that_predict_the_answer_tokens():
    model = tiny_model()
    found = answer_log_probs(model, TEXTS)
    for (prompt, answer), log_p_SV in zip(TEXTS, found, strict=True):
        logits = model.network(torch.tensor([[*prompt, *answer]])).logits[0]
        expected = logits[len(prompt) - 1 : -1].log_softmax(-1)
        torch.testing.assert_close(log_p_SV, expected, atol=1e-5, rtol=1e-5)


def test_no_steering_has_no_effect_and_steering_has_one():
    model = tiny_model()
    before = answer_log_probs(model, TEXTS)
    for effect in effects(before, answer_log_probs(model, TEXTS), targets=[5]):
        assert (effect.target_log_prob_shift, effect.kl) == (0, 0)
    with steer(model, [Clamp(random_dictionary(model), (5,), 4.0)]):
        after = answer_log_probs(model, TEXTS)
    assert all(effect.kl > 0.01 for effect in effects(before, after, targets=[5]))


def test_shift_and_kl_equal_a_hand_computation():
    before = [torch.tensor([[0.5, 0.25, 0.25]]).log()]
    after = [torch.tensor([[0.25, 0.5, 0.25]]).log()]
    (effect,) = effects(before, after, targets=[1, 2])
    assert effect.target_log_prob_shift == pytest.approx(math.log(0.75 / 0.5))
    assert effect.kl == pytest.approx(0.5 * math.log(2) + 0.25 * math.log(0.5))
