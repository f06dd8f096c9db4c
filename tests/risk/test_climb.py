import math

import pytest
from risk.enumerable import problem, truths

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.climb import climb
from bathyscope.risk.events.logit import TokenProbability
from bathyscope.risk.problem import Problem


def test_an_input_that_shows_the_event_is_found_with_its_probability():
    end = climb(problem(9), Budget(forward=4000), among="level", n_chains=32)
    assert end.log_p is not None
    assert end.best_score >= 0
    assert end.log_p <= math.log(truths()[9])


def test_nothing_is_found_of_what_never_happens():
    never = next(token for token in range(12) if token not in truths())
    end = climb(problem(never), Budget(forward=500), among="ordinary", n_chains=32)
    assert end.log_p is None
    assert end.best_score < 0
    assert 500 - 32 < end.spent <= 500


def test_a_drawn_token_is_refused():
    drawn = Problem(model=problem().model, inputs=problem().inputs, event=TokenProbability(1))
    with pytest.raises(ConfigError, match="a score decides"):
        climb(drawn, Budget(forward=100), among="level")
