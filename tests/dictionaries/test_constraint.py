"""Dual ascent on problems whose solution and multiplier can be computed by hand."""

import pytest
import torch

from bathyscope.dictionaries.constraint import BoundSchedule, Dual, DualSettings
from bathyscope.errors import ConfigError


def solve(bound_R, settings, n_steps=3000):
    """min (x - 3)² subject to x ≤ bound, by gradient steps of 0.05."""
    x_R = torch.zeros(len(bound_R))
    dual = Dual(settings, shape=(len(bound_R),))
    seen = []
    for _ in range(n_steps):
        free_R = x_R.clone().requires_grad_()
        violation_R = free_R - bound_R
        loss = (free_R - 3).square() + dual.penalty(violation_R)
        (slope_R,) = torch.autograd.grad(loss.sum(), [free_R])
        x_R = x_R - 0.05 * slope_R
        dual.update(violation_R)
        seen.append(dual.multiplier.clone())
    return x_R, dual, torch.stack(seen)


@pytest.mark.parametrize("proportion", [0.0, 0.5])
def test_a_tight_bound_is_met_with_the_multiplier_of_the_kkt_conditions(proportion):
    bound_R = torch.tensor([1.0, 2.5])
    x_R, dual, _ = solve(bound_R, DualSettings(dual_lr=0.02, dual_proportion=proportion))
    torch.testing.assert_close(x_R, bound_R, atol=1e-4, rtol=0)
    torch.testing.assert_close(dual.multiplier, 2 * (3 - bound_R), atol=1e-3, rtol=0)


def test_a_loose_bound_costs_nothing():
    x_R, dual, seen = solve(torch.tensor([5.0]), DualSettings())
    assert float(x_R[0]) == pytest.approx(3, abs=1e-4)
    assert float(dual.multiplier[0]) == 0 and not seen.any()


def test_the_multiplier_is_never_negative_and_rises_while_violated():
    _, _, seen = solve(torch.tensor([1.0]), DualSettings(dual_lr=0.2))
    assert float(seen.min()) >= 0
    dual = Dual(DualSettings(dual_lr=0.1, dual_start=0.15))
    trail = []
    for violation in (1.0, 1.0, -5.0, -1.0):
        dual.update(torch.tensor(violation))
        trail.append(float(dual.multiplier))
    assert trail == pytest.approx([0.25, 0.35, 0.0, 0.0])


def test_a_proportional_part_swings_less():
    bound_R = torch.tensor([1.0])
    plain, _, _ = solve(bound_R, DualSettings(dual_lr=0.2), n_steps=60)
    damped, _, _ = solve(bound_R, DualSettings(dual_lr=0.2, dual_proportion=1.0), n_steps=60)
    assert abs(float(damped[0]) - 1) < 0.2 * abs(float(plain[0]) - 1)


def test_the_multiplier_gets_no_gradient_of_its_own():
    dual = Dual(DualSettings(dual_start=2.0))
    violation = torch.tensor(0.5, requires_grad=True)
    dual.penalty(violation).backward()
    assert float(violation.grad) == 2.0
    assert not any(buffer.requires_grad for buffer in dual.buffers())


def test_the_state_resumes():
    first, second = (Dual(DualSettings(dual_lr=0.1, dual_proportion=0.3), shape=(2,)) for _ in range(2))
    first.update(torch.tensor([1.0, -1.0]))
    second.load_state_dict(first.state_dict())
    for dual in (first, second):
        dual.update(torch.tensor([0.5, 0.5]))
    assert torch.equal(first.multiplier, second.multiplier) and float(first.multiplier[0]) > 0


def test_a_bound_comes_down_and_ends_at_itself():
    schedule = BoundSchedule(bound_start=8.0, bound_hold=0.25, bound_fall=0.5)
    found = [schedule.factor(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([8, 8, 8**0.5, 1, 1])
    assert BoundSchedule().factor(0.0) == 1


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: DualSettings(dual_lr=0.0), "dual_lr is 0.0"),
        (lambda: DualSettings(dual_proportion=-1.0), "dual_proportion is -1.0"),
        (lambda: BoundSchedule(bound_start=0.5), "starts at 0.5 times"),
        (lambda: BoundSchedule(bound_hold=0.7, bound_fall=0.7), "shares of one run"),
    ],
)
def test_impossible_settings_are_refused_by_name(make, line):
    with pytest.raises(ConfigError, match=line):
        make()
