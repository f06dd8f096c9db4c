"""A world of pairs: shifts made of concepts that are known, so that a learnt column can be compared with the truth.

δz = δc @ A + noise,  A[C, D] the concepts' directions, δc[C] their changes, zero for every concept that stays

Which concepts change is drawn anew for each pair. The laws differ in what they leave identifiable: random supports
separate every two concepts, dense ones none, and concepts that always change together stay mixed with each other.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.world import own_seed

Supports = Literal["free", "grouped", "together", "dense"]
"""`free`: 1 to max_changed concepts, each set of a size equally likely. `grouped`: the same number, most of them from
one group. `together`: concepts 0 and 1, 2 and 3, … change only together. `dense`: every concept in every pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftWorldSettings:
    """A world of shifts. The defaults are the first row of `bathyscope bench shifts`."""

    n_concepts: int = 30
    """Number of concepts."""
    d_model: int = 64
    """Width of the activations."""
    max_changed: int = 5
    """Most concepts that change in a pair; the number is uniform from 1 to this. Not used by `dense`."""
    law: Literal["normal", "uniform"] = "normal"
    """Law of a change: N(0, 1), which has both signs, or U(0, 1), which has not."""
    supports: Supports = "free"
    """Which concepts change together."""
    group_size: int = 5
    """Concepts of a group, for `grouped`."""
    group_share: float = 0.7
    """Probability that a further changed concept comes from the group of the first, for `grouped`."""
    noise: float = 0.0
    """Length of the noise of a pair, in units of the root mean squared length of its shift without noise."""

    def __post_init__(self) -> None:
        if self.n_concepts < 1 or self.d_model < self.n_concepts:
            raise ConfigError(
                f"{self.n_concepts} concepts in {self.d_model} dimensions: directions are independent only when "
                "d_model is at least n_concepts"
            )
        if not 1 <= self.max_changed <= self.n_concepts:
            raise ConfigError(f"max_changed is {self.max_changed}: expected 1 to n_concepts = {self.n_concepts}")
        if not 0 <= self.group_share <= 1 or not 1 <= self.group_size <= self.n_concepts or not self.noise >= 0:
            raise ConfigError("expected group_share in 0 to 1, group_size in 1 to n_concepts, noise of at least 0")
        if self.supports == "together" and (self.n_concepts % 2 or self.max_changed < 2):
            raise ConfigError("concepts that change two by two need an even n_concepts and max_changed of at least 2")


class ShiftSample(NamedTuple):
    """Pairs and what they are made of."""

    shifts_PD: Float[Tensor, "P D"]
    """δz."""
    changes_PC: Float[Tensor, "P C"]
    """δc; 0 for a concept that stays."""
    support_PC: Bool[Tensor, "P C"]
    """Which concepts change."""


class ShiftWorld:
    """Known concepts. The same settings and seed give the same world."""

    def __init__(self, settings: ShiftWorldSettings, *, seed: int = 0) -> None:
        self.settings, self.seed = settings, seed
        generator = torch.Generator().manual_seed(own_seed("shift world", seed))
        n, d = settings.n_concepts, settings.d_model
        self.directions_CD: Float[Tensor, "C D"] = torch.randn(n, d, generator=generator) / d**0.5
        """A: Gaussian rows of length about 1, neither orthogonal nor equally long."""

    def sample(self, n_pairs: int, *, seed: int) -> ShiftSample:
        """`n_pairs` pairs; samples of different seeds are independent."""
        generator = torch.Generator().manual_seed(own_seed(f"shifts of world {self.seed}", seed))
        support_PC = self._support(n_pairs, generator)
        size = (n_pairs, self.settings.n_concepts)
        draw = torch.randn if self.settings.law == "normal" else torch.rand
        changes_PC = draw(*size, generator=generator) * support_PC
        shifts_PD = changes_PC @ self.directions_CD
        if self.settings.noise:
            length = shifts_PD.double().square().sum(1).mean().sqrt().float()
            noise_PD = torch.randn(shifts_PD.shape, generator=generator) / self.settings.d_model**0.5
            shifts_PD = shifts_PD + self.settings.noise * length * noise_PD
        return ShiftSample(shifts_PD, changes_PC, support_PC)

    def _support(self, n: int, generator: torch.Generator) -> Bool[Tensor, "P C"]:
        c, most = self.settings.n_concepts, self.settings.max_changed
        n_changed_P = torch.randint(1, most + 1, (n,), generator=generator)
        match self.settings.supports:
            case "dense":
                return torch.ones(n, c, dtype=torch.bool)
            case "free":
                return _first(torch.rand(n, c, generator=generator), n_changed_P)
            case "together":
                pairs = _first(torch.rand(n, c // 2, generator=generator), (n_changed_P + 1) // 2)
                return pairs.repeat_interleave(2, dim=1)
            case "grouped":
                return self._grouped(n_changed_P, generator)

    def _grouped(self, n_changed_P: Tensor, generator: torch.Generator) -> Bool[Tensor, "P C"]:
        """A first concept at random; each further one from its group with probability `group_share`, else from all."""
        settings, n = self.settings, len(n_changed_P)
        group_C = torch.arange(settings.n_concepts) // settings.group_size
        first_P = torch.randint(0, settings.n_concepts, (n,), generator=generator)
        rank_PC = torch.rand(n, settings.n_concepts, generator=generator)
        is_own_PC = group_C == group_C[first_P][:, None]
        rank_PC = rank_PC.scatter(1, first_P[:, None], -2.0)
        is_drawn_PC = torch.rand(n, settings.n_concepts, generator=generator) < settings.group_share
        return _first(rank_PC - (is_own_PC & is_drawn_PC).float(), n_changed_P)


def _first(rank_PC: Tensor, n_P: Tensor) -> Tensor:
    """True at the `n` lowest entries of each row."""
    place_PC = rank_PC.argsort(dim=1).argsort(dim=1)
    return place_PC < n_P[:, None]
