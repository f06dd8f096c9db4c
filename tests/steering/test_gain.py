"""How much an operation raises tokens, and what the first order says of all directions at once."""

import dataclasses

import pytest
import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL, tiny_model

from bathyscope.models.onward import Passed
from bathyscope.steering.effects import answer_log_probs, effects, told
from bathyscope.steering.gain import gain, plain_answers, slope
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.offset import Offset
from bathyscope.steering.steer import steer

PLACE, TARGETS = "layers.1", [65, 70, 81]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def plain(model):
    return plain_answers(model, ["hello", "the sea is blue"], hookpoint=PLACE, max_new_tokens=5, seed=0)


def test_running_on_from_the_hookpoint_gives_what_the_whole_network_gives(model, plain):
    clamp = Clamp(random_dictionary(model), (5,), 3.0)
    whole = dataclasses.replace(plain, passed=Passed([]))
    assert plain.passed.blocks
    assert gain(model, clamp, plain, targets=TARGETS, seed=1) == gain(model, clamp, whole, targets=TARGETS, seed=1)


@pytest.mark.parametrize("against", [[], [97, 101]])
def test_the_slope_is_that_of_small_moves(model, plain, against):
    found_D, step = slope(model, plain, targets=TARGETS, against=against).double(), 1e-2
    for number in range(3):
        unit_D = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(number))
        unit_D /= unit_D.norm()
        raised = []
        for sign in (1, -1):
            with steer(model, [Offset(vector_D=sign * step * unit_D, hookpoint=PLACE)]):
                after = answer_log_probs(model, plain.texts)
            raised.append(sum(float(told(log_p_SV.double(), TARGETS, against).mean()) for log_p_SV in after) / 2)
        assert (raised[0] - raised[1]) / (2 * step) == pytest.approx(
            float(found_D @ unit_D.double()), rel=0.02, abs=1e-4
        )


def test_what_raises_all_tokens_alike_gains_nothing_against_the_others(model, plain):
    log_p_SV = plain.log_probs[0]
    every = list(range(log_p_SV.shape[1]))
    assert told(log_p_SV, every).abs().max() < 1e-5
    higher_SV = log_p_SV.clone()
    higher_SV[:, [65, 97]] += 1
    assert effects([log_p_SV], [higher_SV], targets=[65], against=[97])[0].target_log_prob_shift == pytest.approx(
        0, abs=1e-5
    )
    assert effects([log_p_SV], [higher_SV], targets=[65], against=[98])[0].target_log_prob_shift == pytest.approx(
        1, abs=1e-5
    )


def test_the_slope_leaves_no_gradient_and_no_hook_behind(model, plain):
    before = answer_log_probs(model, plain.texts)
    slope(model, plain, targets=TARGETS)
    assert all(torch.equal(one, other) for one, other in zip(before, answer_log_probs(model, plain.texts), strict=True))
    assert all(parameter.grad is None for parameter in model.network.parameters())
