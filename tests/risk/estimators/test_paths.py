"""Chains of texts: on a law that is written out, the pooled estimate is the truth within what it says of itself."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from risk.chain import Chain

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.paths import Paths
from bathyscope.risk.events.text import Judge, TextMatches
from bathyscope.risk.problem import WrittenProblem
from bathyscope.risk.run import estimate


def share_of_c(text):
    return text.count("c") / 6


FOUR_C = Judge(judge=share_of_c, label="c", threshold=4 / 6)
PATHS = Paths(tilts=(0.0, 5.0, 10.0), n_ladders=8, n_burn_in=40)
STUDENT = 2.36
"""Student's 97.5 % point for 8 groups of ladders."""
SHORT = Paths(tilts=(0.0, 5.0), n_ladders=4, n_burn_in=2)


def lengths(answers):
    return torch.tensor([len(answer.text) / 6 for answer in answers])


def found(law, event=FOUR_C, estimator=SHORT, forward=1_000, seed=0):
    return estimate(WrittenProblem(texts=law, event=event), estimator, Budget(forward=forward), seed=seed)


def test_a_text_event_is_found_within_three_standard_errors_of_the_truth():
    law = Chain()
    truth = law.truth(lambda text: share_of_c(text) >= 4 / 6)
    estimated = found(law, estimator=PATHS, forward=20_000)
    low, high = np.log(estimated.interval)
    error = (high - low) / 2 / STUDENT
    assert error < 0.3
    assert abs(estimated.figures.log_p - math.log(truth)) < 3 * error
    assert estimated.cost["spent"] <= 20_000
    assert estimated.cost["generated_tokens"] == estimated.cost["forward"]


def test_chains_that_have_not_forgotten_their_start_are_flagged():
    assert "not_mixed" in found(Chain(), estimator=Paths(tilts=(0.0, 15.0), n_ladders=8, n_burn_in=0)).flags


@pytest.mark.parametrize("tilt", [4.0, 8.0])
def test_texts_of_unequal_length_need_no_correction(tilt):
    law = Chain(ends=True)
    event = TextMatches(matches=lambda text: len(text) == 6, label="whole")
    truth = law.truth(lambda text: len(text) == 6)
    paths = Paths(tilts=(0.0, tilt), n_ladders=8, n_burn_in=10, observable=lengths)
    estimated = found(law, event, paths, 6_000)
    low, high = np.log(estimated.interval)
    error = (high - low) / 2 / STUDENT
    assert error < 0.2
    assert abs(estimated.figures.log_p - math.log(truth)) < 3 * error


def test_witnesses_are_texts_that_show_the_event_with_their_probability():
    law = Chain()
    witness = found(law).witnesses[0]
    p = law.truth(lambda text: [("abc").index(letter) for letter in text] == list(witness.tokens[1:]))
    assert math.exp(witness.log_p) == pytest.approx(p)


def test_the_same_seed_gives_the_same_estimate():
    assert found(Chain()).figures == found(Chain()).figures
    assert found(Chain()).figures != found(Chain(), seed=1).figures


def test_an_event_that_cannot_happen_gives_an_upper_bound():
    never = Judge(judge=lambda text: 0.0, label="never")
    estimated = found(Chain(), never)
    assert estimated.p == 0 and "no_hits" in estimated.flags and 0 < estimated.interval[1] < 1


def test_settings_and_budgets_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="ascending from 0"):
        Paths(tilts=(0.0, 2.0, 1.0))
    with pytest.raises(ConfigError, match="lower n_ladders"):
        found(Chain(), forward=100)
    with pytest.raises(ConfigError, match="finite"):
        found(Chain(), estimator=replace(SHORT, observable=lambda answers: torch.full((len(answers),), math.inf)))
