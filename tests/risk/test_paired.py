"""Changes: paired values give narrower intervals than two estimates would, and a side without hits stays bounded."""

import math

import numpy as np
import pytest
import torch
from risk.chain import TOWARDS_C, Chain
from tiny import tiny_model

import bathyscope as bs
from bathyscope.errors import ConfigError
from bathyscope.risk.events.logit import LogitMargin
from bathyscope.risk.events.text import TextMatches
from bathyscope.risk.inputs.pool import prompt_pool
from bathyscope.risk.paired import compare_risk, compare_texts, seen_changes
from bathyscope.risk.problem import Problem, WrittenProblem

MODEL = tiny_model()
POOL = prompt_pool(MODEL, [chr(97 + n) * (1 + n % 3) for n in range(26)], chat=False)


def test_intervals_of_paired_values_cover_difference_and_ratio():
    rng, covered = np.random.default_rng(0), []
    for _ in range(200):
        shared_N, own_N = rng.random(2_000), rng.random(2_000)
        before_N = (shared_N < 0.05).astype(np.float64)
        after_N = ((shared_N < 0.05) & (own_N < 0.5)).astype(np.float64)
        difference, ratio = seen_changes(before_N, after_N, level=0.9)
        covered.append([difference.low <= -0.025 <= difference.high, ratio.low <= 0.5 <= ratio.high])
    assert np.mean(covered, axis=0).min() >= 0.85


def test_steering_is_compared_on_the_same_inputs():
    logits = bs.TokenProbability(ord("e"))
    problem = Problem(model=MODEL, inputs=POOL, event=logits)
    operation = bs.Add(torch.ones(32), bs.Strength(1.0, 1.0, "units"), "layers.1")
    found = compare_risk(problem, lambda: bs.steer(MODEL, [operation]), bs.Budget(forward=400))
    assert found.n == 200 and found.cost["forward"] == 400
    assert found.ratio.low < found.ratio.value < found.ratio.high
    assert found.ratio.value == pytest.approx(math.exp(found.after.log_p - found.before.log_p))
    apart = math.exp(found.after.log_high - found.before.log_low) - math.exp(
        found.after.log_low - found.before.log_high
    )
    assert found.ratio.high - found.ratio.low < apart
    same = compare_risk(problem, problem, bs.Budget(forward=400))
    assert (same.difference.low, same.difference.high) == (0, 0)
    assert same.ratio.low == same.ratio.high == 1


def test_another_model_on_another_law_is_refused():
    event = bs.ArgmaxToken(3)
    other = Problem(model=tiny_model(seed=1), inputs=prompt_pool(MODEL, ["a"]), event=event)
    with pytest.raises(ConfigError, match="two laws"):
        compare_risk(Problem(model=MODEL, inputs=POOL, event=event), other)


def test_a_side_without_hits_is_bounded_by_both_intervals():
    problem = Problem(model=MODEL, inputs=POOL, event=LogitMargin(3, (4,), 1e6))
    found = compare_risk(problem, problem, bs.Budget(forward=200))
    assert math.isnan(found.ratio.value) and (found.ratio.low, found.ratio.high) == (0, math.inf)
    assert found.difference.low < 0 < found.difference.high < 0.1


def test_texts_of_both_sides_are_weighed_for_both():
    def many_c(text):
        return text.count("c") >= 4

    before, after = Chain(), Chain(step=TOWARDS_C, name="towards c")
    problem = WrittenProblem(texts=before, event=TextMatches(matches=many_c, label="four c"))
    found = compare_texts(problem, after, bs.Budget(forward=14_000))
    truth = after.truth(many_c) / before.truth(many_c)
    assert found.ratio.low < truth < found.ratio.high
    assert found.ratio.high / found.ratio.low < 2
    assert found.difference.low < after.truth(many_c) - before.truth(many_c) < found.difference.high
