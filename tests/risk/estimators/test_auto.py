import math

import pytest
from risk.enumerable import problem, truths

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.auto import Auto
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.estimators.split_importance import SplitImportance
from bathyscope.risk.events.logit import TokenProbability
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate


def test_a_usual_event_is_counted_to_the_end():
    budget = Budget(forward=2000)
    assert estimate(problem(8), Auto(), budget).p == estimate(problem(8), Naive(), budget).p


def test_a_rare_event_is_searched_for():
    found = estimate(problem(6), Auto(rare=SplitImportance(n_particles=60, n_moves=3)), Budget(forward=1500))
    assert abs(math.log10(found.p / truths()[6])) < 0.1
    assert found.cost["spent"] <= 1500


def test_a_drawn_token_is_averaged():
    drawn = Problem(model=problem().model, inputs=problem().inputs, event=TokenProbability(6))
    assert estimate(drawn, Auto(), Budget(forward=600)).p > 0


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="pilot_share is 1"):
        Auto(pilot_share=1.0)
