"""Choosing a direction on one half and measuring it on the other, where the truth is planted."""

import numpy as np
import pytest
import torch

from bathyscope.evaluation.single_changes.candidates import at_random, learnt, mean_of, principal, unconstrained
from bathyscope.evaluation.single_changes.reach import choose, cosines, reach
from bathyscope.evaluation.single_changes.scores import LEAD, SHIFT, TARGET, UNTOUCHED, concept_scores
from bathyscope.evaluation.single_changes.turned import SingleChange, Turned

D, C = 24, 4


def directions() -> torch.Tensor:
    return torch.linalg.qr(torch.randn(D, C, generator=torch.Generator().manual_seed(7), dtype=torch.float64)).Q.T


def turned(z_PD: torch.Tensor, target_PD: torch.Tensor, groups_P: np.ndarray) -> Turned:
    return Turned(z_PD, target_PD, groups_P, np.arange(len(groups_P)), np.zeros(len(groups_P), dtype=bool))


def half(concept: int, *, seed: int, n: int = 60, noise: float = 0.05) -> Turned:
    generator = torch.Generator().manual_seed(seed)
    z_PD = torch.randn(n, D, generator=generator, dtype=torch.float64)
    size_P1 = 2 + torch.rand(n, 1, generator=generator, dtype=torch.float64)
    moved_PD = size_P1 * directions()[concept] + noise * torch.randn(n, D, generator=generator, dtype=torch.float64)
    return turned(z_PD, z_PD + moved_PD, np.arange(n) // 2)


@pytest.fixture
def change() -> SingleChange:
    return SingleChange("second", half(1, seed=0), half(1, seed=1))


def test_the_true_direction_is_chosen_with_its_sign_and_strength(change):
    rows_CD = directions() * torch.tensor([1.0, -1.0, 1.0, 1.0])[:, None]
    found = choose(rows_CD, change.choose)
    assert found.column == 1
    torch.testing.assert_close(found.direction_D, directions()[1])
    assert found.strength == pytest.approx(2.5, abs=0.3)


def test_figures_are_those_of_the_reporting_half_alone(change):
    found = reach(learnt("truth", directions()), change)
    choice = choose(directions(), change.choose)
    report = change.report
    by_hand = torch.stack([a @ b / (a.norm() * b.norm()) for a, b in zip(report.z_PD, report.target_PD, strict=True)])
    torch.testing.assert_close(found.untouched_P, by_hand)
    torch.testing.assert_close(found.shift_P, cosines(report.shifts_PD, choice.direction_D))
    assert float(found.shift_P.mean()) > 0.99
    assert float((found.target_P - found.untouched_P).mean()) > 0.05


def test_what_fits_the_choosing_half_by_luck_does_not_lead_on_the_other():
    """Pure noise: thousands of draws find a good column on four pairs, and it is worth nothing elsewhere."""
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(2, n, D, generator=generator, dtype=torch.float64) for n in (4, 400)]
    noise = [turned(draw[0], draw[1], np.arange(draw.shape[1])) for draw in draws]
    found = reach(at_random(3000, D, n_draws=1, seed=0), SingleChange("nothing", *noise))
    chosen = choose(at_random(3000, D, n_draws=1, seed=0).draws_RCD[0], noise[0])
    assert float(cosines(noise[0].shifts_PD, chosen.direction_D).mean()) > 0.25
    assert abs(float(found.shift_P.mean())) < 0.1


def test_a_mixture_in_the_right_span_is_worse_than_the_direction(change):
    """Concepts that vary alike have no principal axes of their own: any rotation explains as much."""
    shifts_PD = torch.randn(400, C, generator=torch.Generator().manual_seed(3), dtype=torch.float64) @ directions()
    ways = [learnt("ssae", directions()), unconstrained(shifts_PD, C, n_draws=20, seed=0), principal(shifts_PD, C)]
    ways += [at_random(C, D, n_draws=20, seed=0), mean_of(change.choose.shifts_PD)]
    reached = {way.name: reach(way, change) for way in ways}
    rows = concept_scores(change, reached, seed=0)
    value = {(row.subject.rpartition(", ")[0], row.metric): row for row in rows}
    assert value["ssae", SHIFT].value > 0.99
    assert value["difference of means (supervised)", SHIFT].value > 0.99
    for way in ("affine autoencoder, no constraint", "principal components", "random columns"):
        assert value[way, SHIFT].value < 0.95
        assert value[f"ssae over {way}", LEAD].low > 0
    assert value["no direction", UNTOUCHED].value < value["ssae", TARGET].value
    assert all(row.low <= row.value <= row.high and row.n == 30 and row.unit == "groups" for row in rows)


def test_empty_columns_take_no_part():
    rows_CD = torch.cat([directions(), torch.zeros(2, D, dtype=torch.float64)])
    assert learnt("ssae", rows_CD).draws_RCD.shape == (1, C, D)
