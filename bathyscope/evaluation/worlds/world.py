"""A world drawn from its settings: directions, frequencies, parents, amounts, and samples of activations.

x = Σ_g a_g · direction_g + Σ_m r_m (cos θ_m · u_m + sin θ_m · v_m) + offset + noise

Roots and features without a parent fire through a Gaussian copula with a few hidden causes; a child fires when its
parent does, at most one child at a time when children are exclusive. Everything runs on the device of the world.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.evaluation.worlds.directions import spread_directions
from bathyscope.evaluation.worlds.forest import Forest, forest
from bathyscope.evaluation.worlds.frequencies import parents, zipf_frequencies
from bathyscope.evaluation.worlds.settings import WorldSettings


class Sample(NamedTuple):
    """Activations and what they are made of."""

    x_ND: Float[Tensor, "N D"]
    """Activations."""
    amounts_NG: Float[Tensor, "N G"]
    """How much of each true feature they hold; 0 where it does not fire."""
    angles_NM: Float[Tensor, "N M"]
    """Position on each circle in radians; NaN where it does not fire."""


class World:
    """Known features. The same settings and seed give the same world; samples take a generator of their own."""

    def __init__(self, settings: WorldSettings, *, seed: int = 0, device: str = "cpu") -> None:
        generator = torch.Generator().manual_seed(own_seed("world", seed))
        self.settings, self.seed, self.device = settings, seed, device
        n, d = settings.n_true, settings.d_model
        frequencies_G, parents_G = _plan_features(settings, generator)
        self.parents_G: Int[Tensor, " G"] = parents_G
        """Each feature's parent; -1 for none."""
        self.frequencies_G: Float[Tensor, " G"] = frequencies_G.float()
        """Share of tokens in which each feature fires."""
        flat = spread_directions(
            n + 2 * settings.n_manifolds,
            d,
            n_steps=settings.orthogonal_steps,
            generator=generator,
            device=device,
        )
        self.directions_GD: Float[Tensor, "G D"] = flat[:n].contiguous()
        """Unit directions of the true features."""
        self.planes_M2D: Float[Tensor, "M 2 D"] = _orthonormal(flat[n:].reshape(-1, 2, d))
        """Orthonormal bases of the planes in which the circles lie."""
        self._mean_G = torch.linspace(settings.amount_first, settings.amount_last, n, device=device)
        spread_G = settings.amount_spread * (1 + torch.randn(n, generator=generator))
        self._spread_G = spread_G.abs().to(device)
        causes_GR = settings.correlation * torch.randn(n, settings.correlation_rank, generator=generator)
        causes_GR *= (0.9 / causes_GR.square().sum(1, keepdim=True).sqrt().clamp_min(0.9)).clamp(max=1)
        self._causes_GR = causes_GR.to(device)
        self._own_G = (1 - causes_GR.square().sum(1)).sqrt().to(device)
        offset_D = torch.randn(d, generator=generator)
        self.offset_D: Float[Tensor, " D"] = (settings.offset * offset_D / offset_D.norm()).to(device)
        """The constant part of every activation."""
        self._generations = [
            _Generation(*(part.to(device) for part in generation))
            for generation in _generations(self.parents_G, shared=settings.exclusive)
        ]
        self._plan(frequencies_G)

    def sample(self, n: int, *, generator: torch.Generator) -> Sample:
        """`n` activations. The generator must be on the world's device."""
        amounts_NG = self._amounts(self._fires(n, generator), generator)
        x_ND = torch.addmm(self.offset_D, amounts_NG, self.directions_GD)
        angles_NM = self._circles(n, generator, x_ND)
        if self.settings.noise:
            x_ND += self.settings.noise * self._randn(n, self.settings.d_model, generator)
        return Sample(x_ND, amounts_NG, angles_NM)

    def batches(self, n_tokens: int, *, batch_size: int, seed: int) -> "WorldBatches":
        """`n_tokens` activations in batches, the same at every pass; made as they are asked for."""
        return WorldBatches(self, n_tokens=n_tokens, batch_size=batch_size, seed=seed)

    def _plan(self, frequencies_G: Tensor) -> None:
        """Thresholds of the copula for features without a parent; conditional shares for the others."""
        free_G = self.parents_G < 0
        within_G = torch.where(free_G, frequencies_G, frequencies_G / frequencies_G[self.parents_G.clamp_min(0)])
        self._free = free_G.nonzero()[:, 0].to(self.device)
        self._threshold = torch.special.ndtri(1 - within_G[free_G]).float().to(self.device)
        self._within_G = within_G.float().to(self.device)
        start_G = _running_shares(self.parents_G, within_G) if self.settings.exclusive else torch.zeros_like(within_G)
        self._start_G = start_G.float().to(self.device)

    def _fires(self, n: int, generator: torch.Generator) -> Tensor:
        """Which features fire, [N, G] booleans."""
        hidden_NR = self._randn(n, self._causes_GR.shape[1], generator)
        own_N = self._randn(n, len(self._free), generator)
        level = torch.addmm(own_N * self._own_G[self._free], hidden_NR, self._causes_GR[self._free].T)
        fires_NG = torch.zeros(n, self.settings.n_true, dtype=torch.bool, device=self.device)
        fires_NG[:, self._free] = level > self._threshold
        for children, parent, draw in self._generations:
            draws = torch.rand(n, int(draw.max()) + 1, generator=generator, device=self.device)[:, draw]
            start = self._start_G[children]
            chosen = (draws >= start) & (draws < start + self._within_G[children])
            fires_NG[:, children] = chosen & fires_NG[:, parent]
        return fires_NG

    def _amounts(self, fires_NG: Tensor, generator: torch.Generator) -> Tensor:
        amounts_NG = torch.zeros(fires_NG.shape, device=self.device)
        where = fires_NG.nonzero(as_tuple=True)
        draws = torch.randn(len(where[1]), generator=generator, device=self.device)
        amounts_NG[where] = (self._mean_G[where[1]] + self._spread_G[where[1]] * draws).clamp_min(0)
        if self.settings.scale_children:
            for children, parent, _ in self._generations:
                amounts_NG[:, children] *= amounts_NG[:, parent] / self._mean_G[parent]
        return amounts_NG

    def _circles(self, n: int, generator: torch.Generator, x_ND: Tensor) -> Tensor:
        """Add the circles to `x_ND` and give their angles."""
        n_manifolds, amount = self.settings.n_manifolds, self.settings.amount_first
        angles_NM = 2 * torch.pi * torch.rand(n, n_manifolds, generator=generator, device=self.device)
        fires_NM = (
            torch.rand(n, n_manifolds, generator=generator, device=self.device) < self.settings.manifold_frequency
        )
        parts_N2M = amount * fires_NM[:, None] * torch.stack([angles_NM.cos(), angles_NM.sin()], dim=1)
        x_ND += torch.einsum("nkm,mkd->nd", parts_N2M, self.planes_M2D)
        return torch.where(fires_NM, angles_NM, torch.nan)

    def _randn(self, n: int, m: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, m, generator=generator, device=self.device)


class WorldBatches:
    """Batches of a world that can be iterated again and give the same activations."""

    def __init__(self, world: World, *, n_tokens: int, batch_size: int, seed: int) -> None:
        self.world, self.n_tokens, self.batch_size, self.seed = world, n_tokens, batch_size, seed

    def __iter__(self) -> Iterator[Float[Tensor, "N D"]]:
        generator = torch.Generator(self.world.device).manual_seed(own_seed("batches", self.seed))
        for first in range(0, self.n_tokens, self.batch_size):
            n = min(self.batch_size, self.n_tokens - first)
            yield self.world.sample(n, generator=generator).x_ND


class _Generation(NamedTuple):
    """Features at one distance from the roots."""

    children: Int[Tensor, " C"]
    """Features of this generation."""
    parent: Int[Tensor, " C"]
    """Their parents."""
    draw: Int[Tensor, " C"]
    """Which uniform draw decides each: the same one for siblings that exclude each other."""


def _generations(parents_G: Tensor, *, shared: bool) -> list[_Generation]:
    """Children, grandchildren, …"""
    found, above_G = list[_Generation](), parents_G < 0
    while bool((children := (~above_G & above_G[parents_G]).nonzero()[:, 0]).numel()):
        above_G[children] = True
        parent = parents_G[children]
        draw = parent.unique(return_inverse=True)[1] if shared else torch.arange(len(children))
        found.append(_Generation(children, parent, draw))
    return found


def _plan_features(settings: WorldSettings, generator: torch.Generator) -> Forest:
    """Frequencies and hierarchy by the settings' law."""
    match settings.law:
        case "fitted":
            frequencies_G = zipf_frequencies(settings)
            return Forest(frequencies_G, parents(frequencies_G, settings, generator=generator))
        case "forest":
            return forest(settings)


def own_seed(purpose: str, seed: int) -> int:
    """A seed that nothing else uses: equal ones would make a dictionary's random start the truth itself."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "little") >> 1


def _running_shares(parents_G: Tensor, within_G: Tensor) -> Tensor:
    """For each child the shares of its elder siblings added up: where its part of the parent's draw begins."""
    start_G, used = torch.zeros_like(within_G), dict[int, float]()
    for feature, parent in enumerate(parents_G.tolist()):
        if parent >= 0:
            start_G[feature] = used.get(parent, 0.0)
            used[parent] = used.get(parent, 0.0) + float(within_G[feature])
    return start_G


def _orthonormal(pairs_M2D: Tensor) -> Tensor:
    if len(pairs_M2D) == 0:
        return pairs_M2D
    return torch.linalg.qr(pairs_M2D.transpose(1, 2)).Q.transpose(1, 2).contiguous()
