"""Steps under a bound: restarts at once are the plain loop each, rows stay unit, bounds are met."""

import pytest
import torch
from dictionaries.shifts.sparse_shifts import sparse_shifts

from bathyscope.dictionaries.constraint import DualSettings
from bathyscope.dictionaries.shifts.ascent import AscentSettings, ascend, ascend_reference
from bathyscope.dictionaries.shifts.columns import Columns, chosen, measure
from bathyscope.dictionaries.shifts.frame import frame_of
from bathyscope.dictionaries.shifts.starts import starts

SHIFTS_PD, _, _ = sparse_shifts()
FRAME = frame_of(SHIFTS_PD, n_columns=5, metric="whitened")
Y_PM = FRAME.coordinates(SHIFTS_PD)
QUICK = AscentSettings(n_steps=40, batch_size=64)


def begin(n_restarts=3, kind="random") -> Columns:
    generator = torch.Generator().manual_seed(0)
    return starts(Y_PM, FRAME, kind=kind, n_restarts=n_restarts, generator=generator)


def run(columns, bound_R, settings=QUICK, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ascend(Y_PM, FRAME.weights_M, columns, bound_R, settings=settings, generator=generator)


def test_restarts_at_once_are_the_plain_loop_each():
    columns, bound_R = begin(), torch.tensor([2.5, 3.0, 1.5])
    found = run(columns, bound_R)
    for r in range(3):
        wanted = ascend_reference(
            Y_PM,
            FRAME.weights_M.float(),
            chosen(columns, r),
            float(bound_R[r]),
            settings=QUICK,
            generator=torch.Generator().manual_seed(0),
        )
        torch.testing.assert_close(found.E_RMC[r], wanted.E_RMC[0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.B_RCM[r], wanted.B_RCM[0], rtol=1e-3, atol=1e-4)
        assert float(found.price_R[r]) == pytest.approx(float(wanted.price_R[0]), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("n_steps", [1, 7])
def test_rows_have_length_one_after_every_step(n_steps):
    found = run(begin(), torch.full((3,), 2.0), AscentSettings(n_steps=n_steps, batch_size=64, lr=0.05))
    torch.testing.assert_close(found.B_RCM.norm(dim=2), torch.ones(3, 5))


def test_a_bound_is_met_and_its_price_is_positive():
    settings = AscentSettings(n_steps=600, dual=DualSettings(dual_lr=0.03))
    found = run(begin(), torch.full((3,), 1.5), settings)
    l1_R = measure(found, Y_PM, FRAME).l1_R
    assert float((l1_R - 1.5).abs().max()) < 0.08
    assert float(found.price_R.min()) > 0


def test_the_price_rises_while_the_bound_is_violated():
    prices = [run(begin(), torch.full((3,), 0.5), AscentSettings(n_steps=n)).price_R for n in (1, 5, 10)]
    assert bool((prices[0] < prices[1]).all()) and bool((prices[1] < prices[2]).all())


def test_without_a_bound_the_price_stays_zero_and_everything_is_reconstructed():
    found = run(begin(kind="tied"), torch.full((3,), torch.inf), AscentSettings(n_steps=500))
    assert found.price_R.tolist() == [0, 0, 0]
    assert float(measure(found, Y_PM, FRAME).explained_R.min()) > 0.99


def test_the_same_seed_gives_the_same_bytes():
    first, again, other = (run(begin(), torch.full((3,), 2.0), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.E_RMC, again.E_RMC) and not torch.equal(first.E_RMC, other.E_RMC)
