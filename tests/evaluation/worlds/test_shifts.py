"""Worlds of shifts: what they are made of, and that their laws are kept."""

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.shifts import ShiftWorld, ShiftWorldSettings

SMALL = {"n_concepts": 6, "d_model": 8, "max_changed": 3}


def world(**settings):
    return ShiftWorld(ShiftWorldSettings(**{**SMALL, **settings}))


def test_shifts_are_the_changes_along_the_concepts_directions():
    sample = world().sample(500, seed=0)
    torch.testing.assert_close(sample.shifts_PD, sample.changes_PC @ world().directions_CD)
    assert torch.equal(sample.support_PC, sample.changes_PC != 0)


def test_the_number_of_changed_concepts_is_uniform():
    n_changed_P = world().sample(6000, seed=0).support_PC.sum(1)
    shares = [float((n_changed_P == n).double().mean()) for n in range(5)]
    assert shares == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0], abs=0.03)


def test_concepts_change_equally_often():
    often_C = world().sample(6000, seed=0).support_PC.double().mean(0)
    torch.testing.assert_close(often_C, torch.full((6,), 2 / 6, dtype=torch.float64), atol=0.03, rtol=0)


def test_one_law_has_both_signs_and_the_other_has_not():
    normal, uniform = (world(law=law).sample(4000, seed=0) for law in ("normal", "uniform"))
    assert float(normal.changes_PC[normal.support_PC].std()) == pytest.approx(1, abs=0.05)
    inside = uniform.changes_PC[uniform.support_PC]
    assert (
        float(inside.min()) >= 0 and float(inside.max()) <= 1 and float(inside.mean()) == pytest.approx(0.5, abs=0.02)
    )


def test_dense_supports_hold_every_concept():
    assert bool(world(supports="dense").sample(50, seed=0).support_PC.all())


def test_concepts_that_change_together_never_separate():
    support_PC = world(supports="together", max_changed=4).sample(2000, seed=0).support_PC
    assert torch.equal(support_PC[:, 0::2], support_PC[:, 1::2])
    assert not torch.equal(support_PC[:, 0], support_PC[:, 2])
    assert set(support_PC.sum(1).tolist()) == {2, 4}


def test_grouped_concepts_change_together_more_often_than_others():
    support_PC = world(n_concepts=8, supports="grouped", group_size=2).sample(6000, seed=0).support_PC.double()
    together_CC = support_PC.T @ support_PC
    assert float(together_CC[0, 1]) > 2 * float(together_CC[0, 2])
    n_changed_P = support_PC.sum(1)
    assert float((n_changed_P == 1).double().mean()) == pytest.approx(1 / 3, abs=0.03)


def test_noise_has_the_given_length():
    clean, noisy = (world(noise=noise).sample(4000, seed=0) for noise in (0.0, 0.5))
    added_PD = noisy.shifts_PD - clean.shifts_PD
    ratio = added_PD.square().sum(1).mean().sqrt() / clean.shifts_PD.square().sum(1).mean().sqrt()
    assert float(ratio) == pytest.approx(0.5, abs=0.02)


def test_the_same_seeds_give_the_same_bytes_and_others_do_not():
    first, again, other = world().sample(100, seed=0), world().sample(100, seed=0), world().sample(100, seed=1)
    assert torch.equal(first.shifts_PD, again.shifts_PD)
    assert not torch.equal(first.shifts_PD, other.shifts_PD)
    settings = ShiftWorldSettings(**SMALL)
    assert not torch.equal(ShiftWorld(settings, seed=1).directions_CD, ShiftWorld(settings).directions_CD)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"d_model": 5}, "6 concepts in 5 dimensions"),
        ({"max_changed": 7}, "max_changed is 7"),
        ({"noise": -1.0}, "noise of at least 0"),
        ({"supports": "together", "n_concepts": 5, "max_changed": 2}, "even n_concepts"),
    ],
)
def test_impossible_worlds_are_refused_by_name(settings, line):
    with pytest.raises(ConfigError, match=line):
        ShiftWorldSettings(**{**SMALL, **settings})
