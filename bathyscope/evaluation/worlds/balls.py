"""Coloured balls on white ground: images whose factors are known, and pairs of images that differ in a few of them.

A ball has a position (x, y) and, where hues vary, a hue: 2 or 3 factors a ball, in the order x, y, hue, ball by ball.
Edges are anti-aliased at sub-pixel positions, so that an image changes smoothly with every factor. Each ball has a
band of hues of its own: balls of one colour could not be told apart by anyone. Knows nothing of encoders
and losses.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.paired import PairBatch
from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.world import own_seed

Blocks = Literal["single", "disjoint", "overlapping"]
Told = Literal["target and sign", "target", "nothing"]
"""What a learner is told of a change: which factors grew and which shrank, which ones changed, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BallSettings:
    """Settings of `Balls`."""

    n_balls: int = 3
    """Number of balls; those with higher numbers lie in front."""
    size: int = 64
    """Width and height of an image in pixels."""
    radius: float = 0.04
    """Radius of a ball, in image widths."""
    has_hue: bool = False
    """Whether each ball's hue is a third factor; else balls have one fixed colour each."""
    margin: float = 0.1
    """Least distance of a centre from the border in the first image of a pair, in image widths."""
    shift: float = 0.05
    """By how much a factor changes, in image widths (hues: in shares of the ball's band)."""
    shift_spread: float = 0.0
    """Changes are drawn from shift · (1 ± shift_spread), uniformly; 0 makes all equally large."""
    blocks: Blocks = "single"
    """What changes together: one factor, all factors of a ball, or two neighbouring factors (overlapping blocks)."""
    n_blocks_changed: int = 1
    """How many different blocks change in a pair."""
    one_sign: bool = False
    """Whether factors only grow; else each change goes up or down with equal chance."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_balls <= 8 or self.size < 8:
            raise ConfigError(f"{self.n_balls} balls in {self.size} pixels: expected 1 to 8 balls and 8 pixels or more")
        if not 0 < self.radius < 0.25 or not 0 <= self.margin < 0.5 or not 0 < self.shift < 0.5:
            raise ConfigError("radius, margin and shift are shares of the image: radius < .25, margin and shift < .5")
        if not 0 <= self.shift_spread < 1:
            raise ConfigError(f"shift_spread is {self.shift_spread}: at 1 a change could be none")
        if not 1 <= self.n_blocks_changed <= len(self.block_factors):
            raise ConfigError(f"{self.n_blocks_changed} of {len(self.block_factors)} blocks cannot change")

    @property
    def n_factors(self) -> int:
        """Number of factors of an image."""
        return self.n_balls * (3 if self.has_hue else 2)

    @property
    def block_factors(self) -> tuple[tuple[int, ...], ...]:
        """The factors of each block."""
        n, each = self.n_factors, self.n_factors // self.n_balls
        match self.blocks:
            case "single":
                return tuple((factor,) for factor in range(n))
            case "disjoint":
                return tuple(tuple(range(first, first + each)) for first in range(0, n, each))
            case "overlapping":
                return tuple((factor, (factor + 1) % n) for factor in range(n))


class BallPairs(NamedTuple):
    """Pairs of images and what is true of them."""

    before_PCHW: Float[Tensor, "P C H W"]
    """First images, RGB in [0, 1]."""
    after_PCHW: Float[Tensor, "P C H W"]
    """Second images."""
    factors_PZ: Float[Tensor, "P Z"]
    """Factors of the first images: positions in image widths, hues in [0, 1) of the ball's band."""
    change_PZ: Float[Tensor, "P Z"]
    """Factors of the second images minus those of the first; 0 where a factor does not change."""


class Balls:
    """The world. Images of different seeds or steps share no draw."""

    def __init__(self, settings: BallSettings) -> None:
        self.settings = settings
        centre_S = (torch.arange(settings.size) + 0.5) / settings.size
        self._x_HW, self._y_HW = torch.meshgrid(centre_S, centre_S, indexing="xy")

    def factors(self, n: int, *, generator: torch.Generator) -> Float[Tensor, "N Z"]:
        """Independent uniform factors of n images."""
        settings, each = self.settings, self.settings.n_factors // self.settings.n_balls
        draws_NZ = torch.rand(n, settings.n_factors, generator=generator)
        is_hue_Z = torch.arange(settings.n_factors) % each == 2
        low, high = settings.margin, 1 - settings.margin
        return torch.where(is_hue_Z, draws_NZ, low + (high - low) * draws_NZ)

    def render(self, factors_NZ: Float[Tensor, "N Z"]) -> Float[Tensor, "N C H W"]:
        """Images; differentiable in the factors. A ball that leaves the image is cut at the border."""
        settings = self.settings
        factors_NBE = factors_NZ.reshape(len(factors_NZ), settings.n_balls, -1)
        image_NCHW = factors_NZ.new_ones(len(factors_NZ), 3, settings.size, settings.size)
        for ball in range(settings.n_balls):
            x_N, y_N = factors_NBE[:, ball, 0, None, None], factors_NBE[:, ball, 1, None, None]
            distance_NHW = ((self._x_HW - x_N).square() + (self._y_HW - y_N).square() + 1e-12).sqrt()
            cover_NHW = _smooth((settings.radius - distance_NHW) * settings.size / 2 + 0.5)
            colour_NC = _colour(self._hue(factors_NBE, ball))
            cover_N1HW = cover_NHW[:, None]
            image_NCHW = image_NCHW * (1 - cover_N1HW) + colour_NC[:, :, None, None] * cover_N1HW
        return image_NCHW

    def pairs(self, n: int, *, seed: int, step: int = 0) -> BallPairs:
        """n pairs, the same for the same seed and step."""
        generator = torch.Generator().manual_seed(own_seed(f"balls step {step}", seed))
        factors_PZ = self.factors(n, generator=generator)
        change_PZ = self._support(n, generator) * self._amount(n, generator)
        return BallPairs(self.render(factors_PZ), self.render(factors_PZ + change_PZ), factors_PZ, change_PZ)

    def batches(self, batch_size: int, *, seed: int, told: Told = "target and sign") -> "BallBatches":
        """Endless fresh pairs to learn from, with as much as the learner is told of each change."""
        return BallBatches(self, batch_size=batch_size, seed=seed, told=told)

    def _hue(self, factors_NBE: Tensor, ball: int) -> Tensor:
        """Hue on the circle [0, 1): the middle half of the ball's own band, or the middle of it."""
        within_N = factors_NBE[:, ball, 2] if self.settings.has_hue else torch.full_like(factors_NBE[:, ball, 0], 0.5)
        return (ball + 0.25 + 0.5 * within_N) / self.settings.n_balls

    def _support(self, n: int, generator: torch.Generator) -> Tensor:
        """1 where a factor changes, [P, Z]."""
        blocks = self.settings.block_factors
        member_KZ = torch.zeros(len(blocks), self.settings.n_factors)
        for number, block in enumerate(blocks):
            member_KZ[number, list(block)] = 1
        chosen_PM = torch.rand(n, len(blocks), generator=generator).argsort(1)[:, : self.settings.n_blocks_changed]
        return member_KZ[chosen_PM].amax(1)

    def _amount(self, n: int, generator: torch.Generator) -> Tensor:
        """By how much each factor would change, [P, Z]."""
        shape, settings = (n, self.settings.n_factors), self.settings
        spread_PZ = settings.shift_spread * (2 * torch.rand(shape, generator=generator) - 1)
        sign_PZ = 2.0 * torch.randint(2, shape, generator=generator) - 1
        return settings.shift * (1 + spread_PZ) * (1.0 if settings.one_sign else sign_PZ)


class BallBatches:
    """Pairs by step, for `train_paired`."""

    def __init__(self, world: Balls, *, batch_size: int, seed: int, told: Told) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}: expected at least 1")
        self.world, self.batch_size, self.seed, self.told = world, batch_size, seed, told

    @property
    def description(self) -> dict[str, Any]:
        """What decides the batches."""
        return {
            "balls": self.world.settings,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "told": self.told,
        }

    def batch(self, step: int) -> PairBatch:
        """The pairs of a step."""
        pairs = self.world.pairs(self.batch_size, seed=self.seed, step=step)
        sign_PZ = pairs.change_PZ.sign()
        targets = {"target and sign": sign_PZ, "target": sign_PZ.abs(), "nothing": None}
        return PairBatch(pairs.before_PCHW, pairs.after_PCHW, targets[self.told])


def _smooth(ramp: Tensor) -> Tensor:
    """0 below 0, 1 above 1, in between 3t² - 2t³: no kink at either end."""
    t = ramp.clamp(0, 1)
    return t * t * (3 - 2 * t)


def _colour(hue_N: Tensor) -> Tensor:
    """RGB of a full hue [N, 3]: cosines instead of the hexagon's edges, so that colours change smoothly."""
    phase_C = torch.tensor([0.0, 1 / 3, 2 / 3])
    return 0.4 + 0.4 * torch.cos(2 * torch.pi * (hue_N[:, None] - phase_C))
