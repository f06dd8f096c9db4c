"""MHIS: close to the truth, never zero where a budget reaches, and open about what it has not seen."""

import math

import pytest
import torch
from risk.small_world import enumerable

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.estimators.chains import r_hat
from bathyscope.risk.estimators.ladder import Ladder
from bathyscope.risk.estimators.metropolis import MHIS
from bathyscope.risk.events.logit import ArgmaxToken, LogitMargin
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate

SMALL = MHIS(n_chains=8, n_particles=32, patience=8)


def of(event: ArgmaxToken | LogitMargin, method: MHIS = SMALL, *, forward: int = 800, seed: int = 0) -> Estimate:
    world = enumerable(1)
    problem = Problem(model=world.model, inputs=world.law, event=event)
    return estimate(problem, method, Budget(forward=forward), seed=seed, level=0.9)


def several_ways() -> list[ArgmaxToken]:
    """Events rarer than one in a thousand that at least five of the thousand inputs show."""
    world = enumerable(1)
    return [event for event in world.rare(1e-5, 1e-3) if int((world.margin_NV[:, event.token] >= 0).sum()) >= 5]


def test_rare_tokens_are_found_and_mostly_within_a_factor_of_two_and_the_interval() -> None:
    world = enumerable(1)
    truths = [(event, float(world.p_V[event.token])) for event in several_ways()]
    found = [(of(event), truth) for event, truth in truths]
    found = [(estimate, truth) for estimate, truth in found if estimate.p > 0 or "no_hits" not in estimate.flags]
    assert len(found) >= 0.7 * len(truths)
    off = [abs(estimate.log10_p - math.log10(truth)) for estimate, truth in found]
    assert sorted(off)[len(off) // 2] < 0.3
    ends = [(estimate.interval, truth) for estimate, truth in found]
    covered = [low * (1 - 1e-9) <= truth <= high * (1 + 1e-9) for (low, high), truth in ends]
    assert sum(covered) >= 0.8 * len(covered)


def test_no_rare_token_is_missed_and_each_is_within_a_factor_of_two_and_the_interval() -> None:
    world = enumerable(1)
    for event in several_ways():
        found, truth = of(event), float(world.p_V[event.token])
        assert found.p > 0
        assert abs(found.log10_p - math.log10(truth)) < 0.3
        low, high = found.interval
        assert low * (1 - 1e-9) <= truth <= high * (1 + 1e-9)


@pytest.mark.parametrize("gradients", [0.0, 0.5])
def test_weights_alone_come_near_the_truth_on_average(gradients: float) -> None:
    world = enumerable(1)
    token = int((world.p_V - 2e-3).abs().argmin())
    method = MHIS(n_chains=8, n_particles=32, exact=False, gradients=gradients, patience=8)
    found = [of(ArgmaxToken(token), method, forward=700, seed=seed).p for seed in range(5)]
    assert sum(found) / 5 == pytest.approx(float(world.p_V[token]), rel=0.35)


def test_the_harmonic_form_survives_temperatures_that_overflow() -> None:
    common = int(enumerable(1).p_V.argmax())
    found = of(ArgmaxToken(common), MHIS(form="harmonic", n_chains=8, temperature=1e-3, patience=8))
    assert math.isfinite(found.figures.log_p) and found.p <= 1


def test_the_harmonic_form_knows_a_common_event() -> None:
    world = enumerable(1)
    token = int(world.p_V.argmax())
    found = of(ArgmaxToken(token), MHIS(form="harmonic", n_chains=16, temperature=4.0, patience=2), forward=1500)
    assert found.p == pytest.approx(float(world.p_V[token]), rel=0.3)


def test_an_impossible_event_is_not_zero_for_sure() -> None:
    found = of(LogitMargin(3, (4,), gap=1e6))
    assert found.p == 0 and "no_hits" in found.flags
    assert 0 < found.interval[1] < 0.1, "the law's own rows exclude more"


def test_what_was_found_before_an_interruption_in_the_pilot_is_a_lower_bound() -> None:
    world = enumerable()
    look = Look(Problem(model=world.model, inputs=world.law, event=ArgmaxToken(3)), Budget(forward=800))
    run = SMALL.begin(look, torch.Generator().manual_seed(0))
    assert isinstance(run, Ladder)
    run.step()
    figures = run.figures(0.9)
    assert figures.log_high == 0.0 and figures.log_low == figures.log_p == look.log_mass


def test_chains_that_never_leave_are_said_not_to_mix() -> None:
    stays_TC = torch.tensor([[True, False]] * 50)
    assert r_hat(stays_TC) == math.inf
    assert r_hat(torch.ones(50, 2) > 0) == 1.0
    changes_TC = torch.tensor([[True, False], [False, True]] * 25)
    assert r_hat(changes_TC) == pytest.approx(math.sqrt(49 / 50))


def test_unusable_settings_are_refused() -> None:
    for settings in ({"n_chains": 3}, {"ess_share": 1.0}, {"temperature": 0.0}, {"gradients": 1.5}, {"patience": 0}):
        with pytest.raises(ConfigError, match="MHIS takes"):
            MHIS(**settings)
