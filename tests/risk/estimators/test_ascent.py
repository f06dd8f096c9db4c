"""Ascents find what shows an event in a world of which every input is known."""

import math

import pytest
import torch
from risk.enumerable import N_FREE, N_OPTIONS, enumerable_law, problem, truths

from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.ascent import Ascents
from bathyscope.risk.inputs.law import log_prob
from bathyscope.risk.look import Look


def ascended(token: int, *, forward: int, seed: int = 0) -> tuple[Look, Ascents]:
    look = Look(problem(token), Budget(forward=forward))
    ascents = Ascents(look, torch.Generator().manual_seed(seed), forward=float(forward))
    while ascents.goes_on(until=0.0):
        ascents.step()
    return look, ascents


@pytest.mark.parametrize("token", sorted(truths()))
def test_every_event_is_found_however_few_inputs_show_it(token: int) -> None:
    look, ascents = ascended(token, forward=1200)
    hits_HC = ascents.hits()
    assert len(hits_HC) > 0 and len(hits_HC.unique(dim=0)) == len(hits_HC)
    assert bool((look.at(hits_HC).score_N >= 0).all())
    assert math.exp(look.log_mass) <= truths()[token] * (1 + 1e-9)


def test_a_chain_ends_where_no_change_of_one_choice_shows_the_event_and_is_likelier() -> None:
    token = max(truths(), key=lambda each: -abs(math.log(truths()[each] / 1e-3)))
    look, ascents = ascended(token, forward=10**6)
    best = max(ascents.hits(), key=lambda row_C: float(log_prob(enumerable_law(), row_C[None])))
    near_NC = torch.cat(
        [
            best.repeat(N_OPTIONS, 1).index_copy_(1, torch.tensor([1 + c]), torch.arange(N_OPTIONS)[:, None])
            for c in range(N_FREE)
        ]
    )
    showing_MC = near_NC[look.at(near_NC).score_N >= 0]
    assert float(log_prob(enumerable_law(), showing_MC).max()) == pytest.approx(
        float(log_prob(enumerable_law(), best[None]))
    )


def test_it_ends_when_there_is_nothing_new_to_see() -> None:
    look, ascents = ascended(max(truths()), forward=10**6)
    assert look.ledger.spent <= N_OPTIONS**N_FREE
    assert not ascents.goes_on(until=0.0)


def test_chains_are_as_many_as_the_forwards_in_view_pay_for() -> None:
    look = Look(problem(), Budget(forward=10**6))
    costs: list[int] = []
    for forward in (10.0, 2.0 * N_OPTIONS * N_FREE, 10.0**6):
        ascents, before = Ascents(look, torch.Generator().manual_seed(0), forward=forward), look.ledger.remembered
        assert (ascents.n_payable > 0) == (forward > 10)
        spent = look.ledger.spent
        ascents.step()
        costs.append(look.ledger.spent - spent + look.ledger.remembered - before)
    assert costs == [N_OPTIONS, N_OPTIONS, 8 * N_OPTIONS]
