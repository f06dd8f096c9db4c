"""Cross-entropy: what a round teaches, by hand, and the estimate beside the truth."""

import math

import pytest
import torch
from risk.small_world import enumerable

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.cross_entropy import CrossEntropy, learnt
from bathyscope.risk.events.logit import LogitMargin
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate


def test_a_round_teaches_the_weighed_shares_of_its_best_rows() -> None:
    log_q = (torch.tensor([0.5, 0.5], dtype=torch.float64).log(),)
    log_w_M = torch.tensor([3.0, 1.0], dtype=torch.float64).log()
    (found_K,) = learnt(log_q, torch.tensor([[0], [1]]), log_w_M, keep=0.2)
    assert found_K.exp().tolist() == pytest.approx([0.8 * 0.75 + 0.2 * 0.5, 0.8 * 0.25 + 0.2 * 0.5])


def test_rare_tokens_are_estimated_to_within_a_factor_of_two_mostly() -> None:
    world = enumerable(1)
    off: list[float] = []
    for event in world.rare(1e-4, 1e-3):
        problem = Problem(model=world.model, inputs=world.law, event=event)
        found = estimate(problem, CrossEntropy(n_rounds=5, patience=150), Budget(forward=800), level=0.9)
        off.append(abs(found.log10_p - math.log10(float(world.p_V[event.token]))))
    assert sorted(off)[len(off) // 2] < 0.3


def test_an_event_out_of_reach_is_called_stuck_and_bounded() -> None:
    world = enumerable()
    problem = Problem(model=world.model, inputs=world.law, event=LogitMargin(3, (4,), gap=1e6))
    found = estimate(problem, CrossEntropy(n_rounds=3), Budget(forward=400))
    assert found.p == 0 and {"stuck", "no_hits"} <= set(found.flags)
    assert 0 < found.interval[1] < 0.2, "the law's own rows of the last round exclude more"


def test_unusable_settings_are_refused() -> None:
    for settings in ({"n_rounds": 0}, {"elite": 1.0}, {"defensive": 0.0}, {"patience": 0}):
        with pytest.raises(ConfigError, match="cross-entropy takes"):
            CrossEntropy(**settings)
