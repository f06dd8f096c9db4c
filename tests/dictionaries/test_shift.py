"""The kind for streams of shifts: its bound, its count, and a world that it can identify."""

import dataclasses

import pytest
import torch
from dictionaries.shifts.sparse_shifts import mcc, sparse_shifts

from bathyscope.dictionaries.shift import Shift, counted
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

SHIFTS_PD, CHANGES_PC, _ = sparse_shifts(n=5, d=8, n_pairs=4000)
RUN = TrainSettings(epochs=16)


def batches():
    return list(SHIFTS_PD.split(256))


def test_a_bound_that_fits_finds_the_concepts_and_none_does_not():
    bounded = train(batches(), Shift(n_features=5, beta=0.75), settings=RUN)
    free = train(batches(), Shift(n_features=5, beta=100.0), settings=RUN)
    assert mcc(bounded.pre(SHIFTS_PD), CHANGES_PC) > mcc(free.pre(SHIFTS_PD), CHANGES_PC) + 0.05
    assert free.training["survey"]["variance_explained"] > 0.97


def test_the_unit_of_beta_is_the_l1_at_the_start():
    trainee = Shift(n_features=5, beta=2.0).build(8, generator=torch.Generator().manual_seed(0))
    trainee.start(SHIFTS_PD)
    codes_PF = SHIFTS_PD @ trainee.W_enc_FD.T
    assert float(trainee.size(codes_PF).detach()) == pytest.approx(1, rel=1e-5)
    assert float(trainee.loss(SHIFTS_PD).seen["violation"]) == pytest.approx(-0.5, rel=1e-4)


def test_a_falling_bound_begins_loose():
    kind = Shift(n_features=5, beta=0.5, bound_start=4.0, bound_fall=1.0)
    trainee = kind.build(8, generator=torch.Generator().manual_seed(0))
    trainee.start(SHIFTS_PD)
    violations = [float(trainee.loss(SHIFTS_PD, progress=progress).seen["violation"]) for progress in (0.0, 1.0)]
    assert violations == pytest.approx([-0.5, 1.0], rel=1e-4)


def test_rows_are_unit_and_the_multiplier_not_negative_after_a_step():
    trainee = Shift(n_features=5, beta=0.1).build(8, generator=torch.Generator().manual_seed(0))
    trainee.start(SHIFTS_PD)
    with torch.no_grad():
        trainee.W_dec_FD.mul_(3)
    trainee.after_step(trainee.loss(SHIFTS_PD))
    torch.testing.assert_close(trainee.W_dec_FD.detach().norm(dim=1), torch.ones(5))
    assert float(trainee.dual.multiplier) > 0


def test_a_count_is_exact_and_learns_near_its_threshold_only():
    codes_NF = torch.tensor([[0.0, 0.04, 0.06, -0.06, -2.0]], requires_grad=True)
    found_NF = counted(codes_NF, 0.05, 0.04)
    assert found_NF.tolist() == [[0, 0, 1, 1, 1]]
    found_NF.sum().backward()
    torch.testing.assert_close(codes_NF.grad, torch.tensor([[0.0, 25.0, 25.0, -25.0, 0.0]]))


def test_a_bound_on_the_count_lowers_it():
    few = Shift(n_features=5, beta=2.0, measure="l0", threshold=0.3, bandwidth=0.6)
    kinds = {"few": few, "all": dataclasses.replace(few, beta=5.0)}
    found = {name: train(batches(), kind, settings=RUN) for name, kind in kinds.items()}
    counts = {name: float((each.pre(SHIFTS_PD).abs() > 0.3).double().sum(1).mean()) for name, each in found.items()}
    assert counts["few"] < counts["all"] - 0.3


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"beta": 0.0}, "beta is 0.0"),
        ({"measure": "l0", "beta": 50.0}, "at most n_features"),
        ({"dual_lr": 0.0}, "dual_lr is 0.0"),
        ({"bound_start": 0.1}, "at least 1"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, line):
    with pytest.raises(ConfigError, match=line):
        Shift(**settings)


def test_more_columns_than_dimensions_are_warned_about(caplog):
    Shift(n_features=9).build(8, generator=torch.Generator().manual_seed(0))
    assert "9 columns in 8 dimensions" in caplog.text
