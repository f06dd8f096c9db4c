"""The control of L0: its formula, its state, and that runs end where they were told to."""

import math

import pytest
import torch
from dictionaries.planted import world

from bathyscope.dictionaries.gated import Gated
from bathyscope.dictionaries.l0_control import GAIN, L0_ANNEAL, PROPORTION, L0Control, weight_control, weight_factor
from bathyscope.dictionaries.p_anneal import PAnneal
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.trainee import Loss, Trainee

FIGURES = {"integral", "l0", "begin", "progress"}


def a_loss(trainee: Trainee, *, l0: float, progress: float) -> Loss:
    loss = trainee.loss(torch.zeros(4, 8), progress=progress)
    loss.seen["l0"].fill_(l0)  # pyright: ignore[reportAttributeAccessIssue]
    return loss


@pytest.fixture
def any_trainee() -> Trainee:
    return ReLU(n_features=16).build(8, generator=torch.Generator().manual_seed(0))


def control(**settings: float) -> L0Control:
    return L0Control(**{"target": 10, "gain": 2.0, "share": 0.5, "limit": 1.0, "longest_step": 0.1, **settings})  # pyright: ignore[reportArgumentType]


def test_the_target_comes_down_from_where_the_dictionary_began(any_trainee):
    found = control()
    found.update(a_loss(any_trainee, l0=1000, progress=0.0))
    wanted = {p: float(found.wanted(torch.tensor(p))) for p in (0.0, 0.25, 0.5, 1.0)}
    assert wanted == pytest.approx({0.0: 1000, 0.25: 100, 0.5: 10, 1.0: 10})


def test_the_integral_is_the_sum_of_log_errors_by_share_of_the_run(any_trainee):
    found = control(share=0.0)
    found.update(a_loss(any_trainee, l0=12, progress=0.05))
    assert float(found.integral) == pytest.approx(2 * 0.05 * math.log(1.2))
    found.update(a_loss(any_trainee, l0=12, progress=0.09))
    assert float(found.integral) == pytest.approx(2 * 0.09 * math.log(1.2))


def test_a_wild_batch_a_long_step_and_a_long_error_are_bounded(any_trainee):
    found = control(share=0.0)
    found.update(a_loss(any_trainee, l0=1e6, progress=0.9))
    assert float(found.integral) == pytest.approx(2 * 0.1 * 0.5)
    for step in range(50):
        found.update(a_loss(any_trainee, l0=1e6, progress=0.9 + step))
    assert float(found.integral) == 1.0


def test_the_factor_is_that_of_the_formula_and_one_without_a_target(any_trainee):
    assert weight_control(None, 0.5) is None and weight_factor(None, 0.3) == 1.0
    found = weight_control(10, 0.5)
    assert found is not None and float(weight_factor(found, 0.3)) == 1.0
    found.integral.fill_(0.7)
    found.l0.fill_(12)
    found.begin.fill_(10)
    assert float(weight_factor(found, 0.9)) == pytest.approx(math.exp(0.7 + PROPORTION * math.log(1.2)))
    assert GAIN > 0 and 0 < L0_ANNEAL < 1


def test_a_batch_in_which_nothing_fires_gives_finite_numbers(any_trainee):
    found = control()
    for progress in (0.1, 0.6):
        found.update(a_loss(any_trainee, l0=0.0, progress=progress))
    assert all(bool(buffer.isfinite()) for buffer in found.buffers()) and float(found.integral) < 0


def test_all_state_is_saved_and_stays_float32():
    found = control()
    assert set(found.state_dict()) == FIGURES
    found.to(torch.bfloat16)
    assert all(buffer.dtype == torch.float32 for buffer in found.buffers())


@pytest.mark.parametrize("kind", [ReLU, PAnneal, Gated])
def test_a_short_run_ends_within_a_tenth_of_its_target_on_held_out_tokens(kind):
    planted = world(n_true=64, d_model=32, n_tokens=24_000)
    settings = TrainSettings(epochs=5)
    dictionary = train(list(planted.x_ND[:20_000].split(250)), kind(n_features=64, l0=5), settings=settings)
    assert dictionary.encode(planted.x_ND[20_000:]).l0() == pytest.approx(5, rel=0.1)
