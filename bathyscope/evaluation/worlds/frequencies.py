"""How often each feature fires, and which feature is whose child, so that both laws hold at once.

Frequencies are Zipfian over all features. A child fires only when its parent does; a parent takes children only as far
as their frequencies fit into its own, so the hierarchy changes no frequency.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.evaluation.worlds.settings import WorldSettings

ROOM = 0.9
"""Largest share of a parent's firings that its children take up together (each alone, when they may overlap)."""


def zipf_frequencies(settings: WorldSettings) -> Float[Tensor, " G"]:
    """Share of tokens in which each feature fires, falling, float64; they add up to `l0`, which must be given.

    `p_r = clamp(c · r^-zipf, min, max)` with c found by bisection.
    """
    assert settings.l0 is not None, "the fitted law is for a given l0"
    law_G = torch.arange(1, settings.n_true + 1, dtype=torch.float64) ** -settings.zipf
    low, high = 0.0, float(settings.max_frequency / law_G[-1])
    for _ in range(200):
        factor = (low + high) / 2
        p_G = (factor * law_G).clamp(settings.min_frequency, settings.max_frequency)
        low, high = (factor, high) if float(p_G.sum()) < settings.l0 else (low, factor)
    return (high * law_G).clamp(settings.min_frequency, settings.max_frequency)


def parents(p_G: Float[Tensor, " G"], settings: WorldSettings, *, generator: torch.Generator) -> Int[Tensor, " G"]:
    """Each feature's parent, or -1 for one that has none.

    In a random order, each feature below the roots goes to a random parent that has room for it: fewer than
    `branching` children, above the last generation, and frequent enough.
    """
    parent_G = torch.full((settings.n_true,), -1, dtype=torch.int64)
    if settings.n_roots == 0 or settings.depth == 0:
        return parent_G
    p = p_G.numpy()
    below = (settings.n_roots + torch.randperm(settings.n_true - settings.n_roots, generator=generator)).numpy()
    draws = torch.rand(settings.n_true, generator=generator, dtype=torch.float64).numpy()
    depth, n_children = np.full(settings.n_true, settings.depth), np.zeros(settings.n_true, np.int64)
    depth[: settings.n_roots] = 0
    room = ROOM * p
    for feature in below:
        fitting = np.flatnonzero((depth < settings.depth) & (n_children < settings.branching) & (p[feature] <= room))
        if len(fitting):
            chosen = fitting[int(draws[feature] * len(fitting))]
            parent_G[feature] = int(chosen)
            n_children[chosen] += 1
            depth[feature] = depth[chosen] + 1
            if settings.exclusive:
                room[chosen] -= p[feature]
    return parent_G
