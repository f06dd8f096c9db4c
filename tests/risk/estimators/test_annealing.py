"""Annealing: how far one step may sharpen, and what the steps add up to."""

import math

import pytest
import torch
from risk.small_world import enumerable

from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.annealing import Annealing, ess_of, sharpening
from bathyscope.risk.estimators.moves import Blind, energy
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem


def test_the_effective_share_of_equal_weights_is_all_and_of_one_weight_one_of_them() -> None:
    assert ess_of(torch.full((8,), -700.0, dtype=torch.float64)) == pytest.approx(1)
    assert ess_of(torch.tensor([0.0, -math.inf, -math.inf, -math.inf], dtype=torch.float64)) == pytest.approx(1 / 4)


def test_a_step_leaves_the_share_that_was_asked_for() -> None:
    energy_N = -torch.rand(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5
    assert ess_of(energy_N * sharpening(energy_N, ess_share=0.4)) == pytest.approx(0.4, abs=1e-6)
    assert sharpening(torch.zeros(5, dtype=torch.float64), ess_share=0.4) == math.inf


def test_many_particles_find_the_normalisers_of_an_enumerated_law() -> None:
    world = enumerable()
    look = Look(Problem(model=world.model, inputs=world.law, event=ArgmaxToken(3)), Budget(forward=10**6))
    pilot = Annealing(look, n_particles=2000, ess_share=0.5, generator=torch.Generator().manual_seed(0))
    mover = Blind(look, uniform=0.5, pairs=0.3)
    for _ in range(4):
        assert pilot.step(mover, n_moves=3)
    level_N = energy(world.margin_NV[:, 3])
    exact = [float((world.log_p_N + beta * level_N).logsumexp(0)) for beta in pilot.beta]
    assert pilot.log_z == pytest.approx(exact, abs=0.25)
    assert sorted(pilot.beta) == pilot.beta and len(pilot.beta) == 5


def test_the_rungs_that_mix_end_before_the_first_on_which_moves_are_refused() -> None:
    world = enumerable()
    look = Look(Problem(model=world.model, inputs=world.law, event=ArgmaxToken(3)), Budget(forward=10**6))
    pilot = Annealing(look, n_particles=50, ess_share=0.5, generator=torch.Generator().manual_seed(0))
    pilot.beta, pilot.accepted = [0.0, 1.0, 2.0, 3.0], [1.0, 0.5, 0.1, 0.4]
    assert [pilot.n_mixing(least) for least in (0.0, 0.05, 0.2, 0.9)] == [4, 4, 2, 2]
