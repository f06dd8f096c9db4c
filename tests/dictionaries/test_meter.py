"""Figures of training: one definition of variance explained, whatever the batches."""

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.meter import Meter, variance_explained
from bathyscope.dictionaries.trainee import Loss

X_ND = torch.randn(90, 5, generator=torch.Generator().manual_seed(0)) * 2 + torch.arange(5)


def loss_of(x_ND: Tensor, guess_ND: Tensor, total: float = 1.0) -> Loss:
    return Loss(
        total=torch.tensor(total),
        parts={"error": torch.tensor(total)},
        squared_error=(x_ND - guess_ND).square().sum(),
        target=moments(x_ND),
        fires_F=torch.tensor([len(x_ND), 0, len(x_ND)]),
    )


def read(x_ND: Tensor, guess_ND: Tensor, sizes: list[int]) -> dict[str, float]:
    meter = Meter()
    for x, guess in zip(x_ND.split(sizes), guess_ND.split(sizes), strict=True):
        meter.add(loss_of(x, guess), torch.tensor(0.5))
    return meter.read()


@pytest.mark.parametrize("sizes", [[90], [30, 30, 30], [1, 59, 30]])
def test_always_predicting_the_mean_explains_nothing(sizes):
    assert read(X_ND, X_ND.mean(0).expand_as(X_ND), sizes)["variance_explained"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("sizes", [[90], [30, 30, 30], [1, 59, 30]])
def test_variance_explained_does_not_depend_on_batches_or_on_a_constant(sizes):
    guess_ND = 0.7 * X_ND
    wanted = float(1 - (0.3 * X_ND).square().sum() / (X_ND - X_ND.mean(0)).square().sum())
    assert read(X_ND, guess_ND, sizes)["variance_explained"] == pytest.approx(wanted, abs=1e-5)
    assert read(X_ND + 50, guess_ND + 50, sizes)["variance_explained"] == pytest.approx(wanted, abs=1e-4)


def test_sorted_data_are_not_scored_against_each_batchs_own_mean():
    sorted_ND = X_ND.sort(0).values
    guess_ND = torch.cat([part.mean(0).expand_as(part) for part in sorted_ND.split(30)])
    assert read(sorted_ND, guess_ND, [30, 30, 30])["variance_explained"] > 0.5


def test_figures_are_means_over_tokens_and_start_anew_after_reading():
    meter = Meter()
    meter.add(loss_of(X_ND[:30], X_ND[:30], total=1.0), torch.tensor(2.0))
    meter.add(loss_of(X_ND[30:], X_ND[30:], total=4.0), torch.tensor(2.0))
    figures = meter.read()
    assert figures["loss"] == pytest.approx(3.0) and figures["error"] == pytest.approx(3.0)
    assert (figures["l0"], figures["gradient_norm"], figures["variance_explained"]) == (2.0, 2.0, 1.0)
    meter.add(loss_of(X_ND, X_ND, total=9.0), torch.tensor(0.0))
    assert meter.read()["loss"] == 9


def test_the_first_step_that_is_not_finite_is_found():
    meter = Meter()
    assert meter.first_bad_step() is None
    for total, norm in [(1.0, 1.0), (1.0, torch.inf), (torch.nan, 1.0)]:
        meter.add(loss_of(X_ND, X_ND, total=total), torch.tensor(norm))
    assert meter.first_bad_step() == 1


def test_a_step_far_worse_than_the_mean_is_found_and_a_rare_huge_activation_is_not():
    meter = Meter()
    meter.add(loss_of(X_ND[:30], 0.5 * X_ND[:30]), torch.tensor(1.0))
    assert 0 < meter.first_error_share() < 10
    huge_ND = torch.cat([X_ND[30:60], 1e4 * X_ND[:1]])
    meter.add(loss_of(huge_ND, torch.zeros(31, 5)), torch.tensor(1.0))
    assert meter.first_step_above(100.0) is None
    meter.add(loss_of(X_ND[60:], 1e7 * X_ND[60:]), torch.tensor(1.0))
    assert meter.first_step_above(100.0) == 2


def test_no_variation_is_no_division():
    assert variance_explained(0.0, 0.0) == 0
