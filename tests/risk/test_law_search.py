import math

import pytest
import torch
from risk.enumerable import enumerable_law, problem, truths

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.events.logit import TokenProbability
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.law_search import LawSearch, find_law
from bathyscope.risk.problem import Problem

SMALL = LawSearch(n_round=128, n_check=128, n_weighed=400)


def test_the_event_is_usual_under_the_law_that_is_found():
    found = find_law(problem(6), SMALL, Budget(forward=5000), seed=0)
    assert found is not None
    rows_NC = draw(found.law, 400, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        value_N = problem(6).event.outcome(problem().model, found.law.inputs(problem().model, rows_NC)).value_B
    assert float(value_N.mean()) > 0.35
    assert found.p_found_low <= float(value_N.mean()) + 0.1


def test_choices_that_the_event_does_not_need_keep_their_law():
    found = find_law(problem(6), SMALL, Budget(forward=5000), seed=0)
    assert found is not None
    for choice, (own, ordinary) in enumerate(zip(found.law.log_p, enumerable_law().log_p, strict=True)):
        assert (choice in found.changed) == (not torch.allclose(own.exp(), ordinary.exp()))
    assert 0 not in found.changed
    assert found.log_rarity < 0


def test_the_ordinary_laws_probability_is_estimated_on_the_way():
    found = [find_law(problem(6), SMALL, Budget(forward=5000), seed=seed) for seed in range(4)]
    errors = [one.p_ordinary.log_mean - math.log(truths()[6]) for one in found if one is not None]
    assert len(errors) >= 3
    assert sorted(map(abs, errors))[len(errors) // 2] < math.log(3)


def test_nothing_is_found_of_what_never_happens_or_cannot_be_paid_for():
    never = next(token for token in range(12) if token not in truths())
    assert find_law(problem(never), LawSearch(n_round=64, most_rounds=10), Budget(forward=3000), seed=0) is None
    assert find_law(problem(6), SMALL, Budget(forward=100), seed=0) is None


def test_a_drawn_token_is_refused():
    drawn = Problem(model=problem().model, inputs=problem().inputs, event=TokenProbability(1))
    with pytest.raises(ConfigError, match="needs an event that a score decides"):
        find_law(drawn, SMALL, Budget(forward=100), seed=0)


def test_shares_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="shares within"):
        LawSearch(elite=1.0)
