"""Proposals: unbiased whatever they are, narrower when they are good, and flagged when they miss a way to the event."""

import math

import numpy as np
import pytest
import torch
from risk.chain import TOWARDS_C, Chain

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.estimators.splitting import Splitting
from bathyscope.risk.estimators.steered import Steered
from bathyscope.risk.events.text import TextMatches
from bathyscope.risk.mixture import Mixture, best_shares
from bathyscope.risk.problem import WrittenProblem
from bathyscope.risk.run import estimate
from bathyscope.risk.written_look import WrittenLook


def many_c(text):
    return text.count("c") >= 5


LAW = Chain()
PROPOSAL = Chain(step=TOWARDS_C, start=TOWARDS_C[0], name="towards c")
AWAY = Chain(step=((0.98, 0.01, 0.01),) * 3, start=(0.98, 0.01, 0.01), name="towards a")
PROBLEM = WrittenProblem(texts=LAW, event=TextMatches(matches=many_c, label="five c"))
TRUTH = LAW.truth(many_c)


def found(*proposals, forward=3_000, seed=0, **settings):
    return estimate(PROBLEM, Steered(proposals=proposals, **settings), Budget(forward=forward), seed=seed)


@pytest.mark.parametrize("proposals", [(PROPOSAL,), (PROPOSAL, AWAY)], ids=["good", "good and bad"])
def test_the_mean_of_many_estimates_is_the_truth(proposals):
    p_R = np.array([found(*proposals, seed=seed).p for seed in range(24)])
    assert abs(p_R.mean() - TRUTH) < 3 * p_R.std(ddof=1) / math.sqrt(len(p_R))


def test_a_pilot_does_not_bias_and_gives_the_better_proposal_more_texts():
    p_R = np.array([found(PROPOSAL, AWAY, seed=seed, n_pilot=200).p for seed in range(24)])
    assert abs(p_R.mean() - TRUTH) < 3 * p_R.std(ddof=1) / math.sqrt(len(p_R))
    look = WrittenLook(PROBLEM, Budget())
    mixture = Mixture(look, (LAW, PROPOSAL, AWAY), torch.Generator().manual_seed(0))
    mixture.draw(300, np.array([0.2, 0.4, 0.4]))
    share_J = best_shares(mixture.mixed(), np.array([0.2, 0.4, 0.4]), plain=0.1)
    assert share_J.sum() == pytest.approx(1)
    assert share_J[0] >= 0.1 and share_J[1] > 0.8


def test_intervals_cover_and_are_narrower_than_those_of_plain_sampling():
    estimates = [found(PROPOSAL, seed=seed) for seed in range(24)]
    covered = [low <= TRUTH <= high for low, high in (each.interval for each in estimates)]
    assert np.mean(covered) >= 0.85
    plain = estimate(PROBLEM, Naive(), Budget(forward=3_000))
    assert estimates[0].interval[1] / estimates[0].interval[0] < plain.interval[1] / max(plain.interval[0], 1e-9)


def test_weights_never_exceed_what_the_plain_share_allows():
    look = WrittenLook(PROBLEM, Budget())
    mixture = Mixture(look, (LAW, PROPOSAL), torch.Generator().manual_seed(0))
    mixture.draw(100, np.array([0.1, 0.9]))
    mixed = mixture.mixed()
    assert mixed.n_J.tolist() == [10, 90]
    weights_N = np.exp(mixed.log_p_JN[0] - mixed.log_q_N)
    assert weights_N.max() <= 10 + 1e-9
    assert look.ledger.generated_tokens == 600
    assert look.ledger.forward == 600 + 100 + 16  # read once by the law that did not write it; 8 of each law checked


def test_a_proposal_that_leads_away_is_flagged():
    estimated = found(AWAY, forward=20_000)
    assert {"probably_low", "no_hits"} & set(estimated.flags)
    assert estimated.interval[1] > TRUTH


def test_a_proposal_that_reads_otherwise_than_it_writes_is_refused():
    class Forgetful(Chain):
        def log_prob(self, written):
            return super().log_prob(written) - 1

    with pytest.raises(ConfigError, match="1 nats apart"):
        found(Forgetful(step=TOWARDS_C))


def test_settings_budgets_and_problems_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="at least one proposal"):
        Steered(proposals=())
    with pytest.raises(ConfigError, match="lower n_pilot"):
        found(PROPOSAL, forward=300, n_pilot=500)
    with pytest.raises(ConfigError, match="splitting estimates events of inputs, not of written texts"):
        estimate(PROBLEM, Splitting())


def test_naive_sampling_of_texts_counts_hits_and_generated_tokens():
    common = WrittenProblem(texts=LAW, event=TextMatches(matches=lambda text: text[0] == "a", label="a first"))
    estimated = estimate(common, Naive(), Budget(forward=6_000))
    assert estimated.interval[0] < 0.7 < estimated.interval[1]
    assert estimated.cost["generated_tokens"] == estimated.cost["spent"] == 6_000
