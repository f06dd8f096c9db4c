"""Balls: where they are, that an image follows its factors smoothly, and what changes in a pair."""

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.balls import Balls, BallSettings


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ink(image_CHW: torch.Tensor) -> torch.Tensor:
    return (1 - image_CHW).sum(0)


def test_a_ball_lies_where_its_factors_say_on_white_ground():
    world = Balls(BallSettings(n_balls=1, size=64, radius=0.08))
    image = world.render(torch.tensor([[0.3, 0.7]]))[0]
    weight = ink(image) / ink(image).sum()
    centre = (torch.arange(64) + 0.5) / 64
    assert float((weight.sum(0) * centre).sum()) == pytest.approx(0.3, abs=2e-3)
    assert float((weight.sum(1) * centre).sum()) == pytest.approx(0.7, abs=2e-3)
    assert float(image[:, 5, 60].min()) == 1.0
    area = ink(image).sum() / ink(image).max() / 64**2
    assert float(area) == pytest.approx(torch.pi * 0.08**2, rel=0.03)


def test_a_thousandth_of_the_width_changes_the_image_and_half_as_much_changes_it_half_as_much():
    world = Balls(BallSettings(n_balls=2))
    factors = world.factors(20, generator=generator())
    for factor in range(4):
        step = torch.zeros(4)
        step[factor] = 1e-3
        whole = (world.render(factors + step) - world.render(factors)).abs().sum((1, 2, 3))
        half = (world.render(factors + step / 2) - world.render(factors)).abs().sum((1, 2, 3))
        assert bool((whole > 0.02).all())
        torch.testing.assert_close(half / whole, torch.full((20,), 0.5), rtol=0, atol=0.05)


def test_images_have_a_gradient_in_every_factor():
    world = Balls(BallSettings(n_balls=2, has_hue=True, size=32, radius=0.1))
    factors = world.factors(1, generator=generator(1)).requires_grad_()
    world.render(factors).square().sum().backward()
    assert factors.grad is not None and bool(torch.isfinite(factors.grad).all())
    assert bool((factors.grad != 0).all())


def test_the_ball_with_the_higher_number_lies_in_front():
    world = Balls(BallSettings(n_balls=2, radius=0.1))
    alone = Balls(BallSettings(n_balls=2, radius=0.1)).render(torch.tensor([[2.0, 2.0, 0.5, 0.5]]))
    covered = world.render(torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    torch.testing.assert_close(covered[0, :, 32, 32], alone[0, :, 32, 32])


def test_colours_of_different_balls_never_meet():
    world = Balls(BallSettings(n_balls=3, has_hue=True, size=16, radius=0.2))
    hues = torch.linspace(0, 1, 9)
    seen = []
    for ball in range(3):
        factors = torch.full((9, 3, 3), 5.0)  # outside of the image
        factors[:, ball] = torch.stack([torch.full((9,), 0.5), torch.full((9,), 0.5), hues], dim=1)
        seen.append(world.render(factors.flatten(1))[:, :, 8, 8])
    for one in range(3):
        assert float(torch.pdist(seen[one]).min()) > 0.005, "hue shows"
        for other in range(one):
            assert float(torch.cdist(seen[one], seen[other]).min()) > 0.3


@pytest.mark.parametrize(
    ("blocks", "n_changed", "supports"),
    [
        ("single", 1, {(0,), (1,), (2,), (3,)}),
        ("disjoint", 1, {(0, 1), (2, 3)}),
        ("overlapping", 1, {(0, 1), (1, 2), (2, 3), (0, 3)}),
        ("single", 2, {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}),
    ],
)
def test_exactly_the_chosen_blocks_change_by_the_stated_amount_both_ways(blocks, n_changed, supports):
    world = Balls(BallSettings(n_balls=2, size=16, blocks=blocks, n_blocks_changed=n_changed, shift_spread=0.2))
    change = world.pairs(300, seed=0).change_PZ
    assert {tuple(row.nonzero()[:, 0].tolist()) for row in change} == supports
    moved = change[change != 0]
    assert float(moved.abs().min()) >= 0.04 and float(moved.abs().max()) <= 0.06
    assert float((moved > 0).double().mean()) == pytest.approx(0.5, abs=0.1)
    assert float(moved.abs().std()) > 0.005


def test_a_world_of_one_sign_only_grows():
    world = Balls(BallSettings(n_balls=2, size=16, one_sign=True))
    assert bool((world.pairs(50, seed=0).change_PZ >= 0).all())


def test_pairs_are_rendered_from_their_factors_and_repeat_only_with_their_seed_and_step():
    world = Balls(BallSettings(n_balls=2, size=16))
    pairs = world.pairs(8, seed=1, step=2)
    torch.testing.assert_close(pairs.after_PCHW, world.render(pairs.factors_PZ + pairs.change_PZ))
    assert torch.equal(pairs.before_PCHW, world.pairs(8, seed=1, step=2).before_PCHW)
    for other in (world.pairs(8, seed=2, step=2), world.pairs(8, seed=1, step=3)):
        assert not bool((other.factors_PZ[:, None] == pairs.factors_PZ[None]).all(2).any()), "no image comes twice"
    low, high = float(pairs.factors_PZ.min()), float(pairs.factors_PZ.max())
    assert low >= 0.1 and high <= 0.9


def test_a_learner_is_told_no_more_than_was_asked():
    world = Balls(BallSettings(n_balls=2, size=16))
    change = world.pairs(20, seed=0, step=5).change_PZ
    told = {each: world.batches(20, seed=0, told=each).batch(5).target_PZ for each in ("target and sign", "target")}
    assert torch.equal(told["target and sign"], change.sign()) and torch.equal(told["target"], change.sign().abs())
    assert world.batches(20, seed=0, told="nothing").batch(5).target_PZ is None


@pytest.mark.parametrize(
    "wrong",
    [{"n_balls": 0}, {"size": 4}, {"shift": 0.0}, {"shift_spread": 1.0}, {"n_blocks_changed": 7}, {"radius": 0.3}],
)
def test_worlds_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError):
        BallSettings(**wrong)
    with pytest.raises(ConfigError, match="batch_size"):
        Balls(BallSettings()).batches(0, seed=0)
