import math

import numpy as np
import pytest
import torch
from risk.enumerable import problem, rare_token, truths

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.estimators.split_importance import SplitImportance
from bathyscope.risk.estimators.splitting import Splitting, redrawn
from bathyscope.risk.events.logit import TokenProbability
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate

SMALL = Splitting(n_particles=120, n_moves=3, p0=0.25, n_runs=1)


def test_the_mean_of_many_runs_is_the_truth():
    found = [estimate(problem(), SMALL, Budget(forward=50_000), seed=seed).p for seed in range(30)]
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found) - truths()[rare_token()]) < 3.5 * error
    assert error < 0.4 * truths()[rare_token()]


def test_intervals_from_several_runs_cover():
    settings, p = Splitting(n_particles=40, n_moves=2, n_runs=4), truths()[9]
    found = [estimate(problem(9), settings, Budget(forward=9_000), seed=seed, level=0.9) for seed in range(16)]
    assert np.mean([one.interval[0] <= p <= one.interval[1] for one in found]) >= 0.7


def test_most_redrawn_rows_differ_in_one_free_choice_at_most():
    law = problem().inputs
    rows_NC = draw(law, 200, generator=torch.Generator().manual_seed(0))
    other_NC = redrawn(law, rows_NC, torch.Generator().manual_seed(1))
    changes_N = (rows_NC != other_NC).sum(1)
    assert float((changes_N <= 1).double().mean()) > 0.7
    assert int(changes_N.max()) > 1
    assert torch.equal(rows_NC[:, 0], other_NC[:, 0])


def test_redrawing_leaves_the_law_as_it_is():
    law = problem().inputs
    rows_NC = draw(law, 40_000, generator=torch.Generator().manual_seed(0))
    again_NC = redrawn(law, rows_NC, torch.Generator().manual_seed(1))
    for log_p, column_N in zip(law.log_p, again_NC.unbind(1), strict=True):
        share = torch.bincount(column_N, minlength=len(log_p)) / len(column_N)
        assert float((share - log_p.exp()).abs().max()) < 0.012


@pytest.mark.parametrize("estimator", [Splitting(), SplitImportance()])
def test_a_budget_too_small_for_one_round_is_refused_with_the_number(estimator):
    with pytest.raises(ConfigError, match="forwards"):
        estimate(problem(), estimator, Budget(forward=100))


@pytest.mark.parametrize("estimator", [Splitting(), SplitImportance()])
def test_a_drawn_token_has_no_verdict_to_climb_to(estimator):
    drawn = Problem(model=problem().model, inputs=problem().inputs, event=TokenProbability(1))
    with pytest.raises(ConfigError, match="needs an event that the input decides"):
        estimate(drawn, estimator)


def test_an_event_that_never_happens_leaves_an_upper_end():
    never = next(token for token in range(12) if token not in truths())
    found = estimate(problem(never), Splitting(n_particles=50, n_runs=4), Budget(forward=1500))
    assert found.p == 0
    assert 0 < found.interval[1] < 1
    assert "no_hits" in found.flags


@pytest.mark.parametrize("token", [6, 10])
def test_what_was_seen_is_counted_exactly(token):
    settings = SplitImportance(n_particles=60, n_moves=3)
    found = [estimate(problem(token), settings, Budget(forward=1000), seed=seed, level=0.9) for seed in range(6)]
    p = truths()[token]
    assert np.mean([one.interval[0] <= p * (1 + 1e-9) <= one.interval[1] * (1 + 2e-9) for one in found]) >= 0.75
    assert np.median([one.p for one in found]) == pytest.approx(p, rel=0.05)
    assert all(sum(math.exp(w.log_p) for w in one.witnesses) <= p * (1 + 1e-9) for one in found)


def test_the_weighing_alone_is_unbiased():
    settings = SplitImportance(n_particles=30, n_moves=1, ascent_share=0.0, search_share=0.1)
    found = [estimate(problem(4), settings, Budget(forward=150), seed=seed).p for seed in range(60)]
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found) - truths()[4]) < 3.5 * error


def test_it_is_far_closer_than_naive_sampling_at_the_same_budget():
    budget, p = Budget(forward=1000), truths()[6]
    ours = estimate(problem(6), SplitImportance(n_particles=60, n_moves=3), budget)
    naive = estimate(problem(6), Naive(), budget)
    assert abs(math.log10(ours.p / p)) < 0.1
    assert naive.p == 0 or abs(math.log10(naive.p / p)) > 0.5
