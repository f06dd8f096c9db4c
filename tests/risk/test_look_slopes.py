"""A look remembers slopes, and adds up what it has seen for certain."""

import math

import pytest
import torch
from risk.small_world import enumerable

from bathyscope.risk import look as look_module
from bathyscope.risk.budget import Budget, BudgetSpent
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem


def look_with(forward: int) -> Look:
    world = enumerable()
    token = int((world.p_V - 0.02).abs().argmin())
    return Look(Problem(model=world.model, inputs=world.law, event=ArgmaxToken(token)), Budget(forward=forward))


def test_slopes_of_a_row_are_paid_for_once_and_its_score_with_them() -> None:
    look, rows_NC = look_with(30), torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3], [0, 4, 5, 6]])
    first, again = look.slopes(rows_NC), look.slopes(rows_NC)
    assert (look.ledger.forward, look.ledger.backward, look.ledger.remembered) == (2, 2, 4)
    assert torch.equal(first.slope_NSD, again.slope_NSD) and torch.equal(first.slope_NSD[0], first.slope_NSD[1])
    assert torch.equal(look.at(rows_NC).score_N, first.score_N) and look.ledger.forward == 2


def test_slopes_beyond_the_room_for_them_are_given_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_module, "MOST_SLOPES", 0)
    look, rows_NC = look_with(30), torch.tensor([[0, 1, 2, 3]])
    assert torch.equal(look.slopes(rows_NC).slope_NSD, look.slopes(rows_NC).slope_NSD)
    assert look.ledger.backward == 2


def test_slopes_that_cannot_be_paid_for_are_refused_before_the_first() -> None:
    look = look_with(5)
    with pytest.raises(BudgetSpent):
        look.slopes(torch.tensor([[0, 1, 2, 3], [0, 4, 5, 6]]))
    assert look.ledger.spent == 0


def test_what_was_seen_adds_up_to_the_probability_once_everything_was() -> None:
    world, look = enumerable(), look_with(2000)
    assert look.log_mass == -math.inf
    look.at(world.choices_NC[:500])
    half = look.log_mass
    look.at(world.choices_NC)
    event = look.problem.event
    assert isinstance(event, ArgmaxToken)
    assert half <= look.log_mass <= math.log(float(world.p_V[event.token]))
    assert look.log_mass == pytest.approx(math.log(float(world.p_V[event.token])), abs=1e-6)
