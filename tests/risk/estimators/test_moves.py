"""Moves leave the law that they are made for as it is: from exact draws, one move later, the histogram is the same."""

import math

import pytest
import torch
from risk.small_world import Enumerable, enumerable
from torch import Tensor

from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.moves import Blind, Informed, Mover, as_it_is, energy, grouped, swapped
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem

TOKEN, BETA, N = 3, 1.5, 20_000


def look_at(world: Enumerable) -> Look:
    return Look(Problem(model=world.model, inputs=world.law, event=ArgmaxToken(TOKEN)), Budget(forward=10**6))


MOVERS = {
    "blind": (lambda look: Blind(look, uniform=0.3, pairs=0.4), energy),
    "informed": (Informed, energy),
    "informed, full pull, score as it is": (lambda look: Informed(look, pull=1.0, energy=as_it_is), as_it_is),
}


@pytest.mark.parametrize("name", MOVERS)
def test_one_move_leaves_the_law_as_it_was(name: str) -> None:
    world = enumerable()
    build, level_of = MOVERS[name]
    mover: Mover = build(look_at(world))
    generator = torch.Generator().manual_seed(0)
    share_N = (world.log_p_N + BETA * level_of(world.margin_NV[:, TOKEN])).softmax(0)
    chosen_N = torch.multinomial(share_N, N, True, generator=generator)
    rows_NC, score_N = world.choices_NC[chosen_N], world.margin_NV[chosen_N, TOKEN]
    move = mover.move(rows_NC, score_N, torch.full((N,), BETA, dtype=torch.float64), generator)
    goes_N = torch.rand(N, generator=generator, dtype=torch.float64).log() < move.log_accept_N
    after_NC = torch.where(goes_N[:, None], move.rows_NC, rows_NC)
    seen_N = (after_NC[:, 1:] * torch.tensor([100, 10, 1])).sum(1).bincount(minlength=1000) / N
    assert 0.05 < float(goes_N.double().mean()) < 1
    assert chi_square(seen_N, share_N) < 4


def chi_square(seen_N: Tensor, share_N: Tensor) -> float:
    """Standard deviations by which counts of the 30 likeliest rows differ from their shares more than they should."""
    top = share_N.argsort(descending=True)[:30]
    statistic = float((N * (seen_N[top] - share_N[top]) ** 2 / share_N[top]).sum())
    return (statistic - 30) / math.sqrt(60)


def test_columns_are_grouped_each_row_once() -> None:
    groups = grouped(torch.tensor([3, 1, 3, 3]))
    assert [(column, here_M.tolist()) for column, here_M in groups] == [(1, [1]), (3, [0, 2, 3])]


def test_swaps_exchange_neighbours_of_one_chain_and_take_what_is_surely_better() -> None:
    beta_K = torch.tensor([0.0, 1.0, 50.0], dtype=torch.float64)
    energy_KC = torch.tensor([[0.0, -9.0], [-9.0, 0.0], [-1.0, -1.0]], dtype=torch.float64)
    source_KC = swapped(beta_K, energy_KC, 0, 3, torch.Generator().manual_seed(0))
    assert source_KC[:, 0].tolist() == [1, 0, 2], "the hot rung holds the better state: it goes to the cold one"
    assert source_KC[:, 1].tolist() == [0, 1, 2], "e^-9 is too unlikely"
    assert swapped(beta_K, energy_KC, 1, 3, torch.Generator().manual_seed(0))[:, 1].tolist() == [0, 2, 1]


def test_nothing_comes_back_from_behind_the_border() -> None:
    beta_K = torch.tensor([0.0, 1.0, 50.0], dtype=torch.float64)
    energy_KC = torch.tensor([[-1.0], [0.0], [-1.0]], dtype=torch.float64)
    assert swapped(beta_K, energy_KC, 1, 2, torch.Generator().manual_seed(0))[:, 0].tolist() == [0, 1, 1]
