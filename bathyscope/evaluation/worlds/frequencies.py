"""How often each feature fires, and which feature is whose child, so that both laws hold at once.

Frequencies are Zipfian over all features. A child fires only when its parent does; a parent takes children only as far
as their frequencies fit into its own, so the hierarchy changes no frequency.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.evaluation.worlds.settings import WorldSettings

ROOM = 0.9
"""Largest share of a parent's firings that its children take up together (each alone, when they may overlap)."""


def zipf_frequencies(settings: WorldSettings) -> Float[Tensor, " G"]:
    """Share of tokens in which each feature fires, falling, float64; they add up to `l0`.

    `p_r = clamp(c · r^-zipf, min, max)` with c found by bisection.
    """
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
    members, p = list(range(settings.n_roots)), p_G.tolist()
    depth, n_children = [0] * settings.n_roots, [0] * settings.n_roots
    room = [ROOM * p[m] for m in members]
    below = settings.n_roots + torch.randperm(settings.n_true - settings.n_roots, generator=generator)
    for feature in below.tolist():
        fitting = [i for i in range(len(members)) if _fits(p[feature], depth[i], n_children[i], room[i], settings)]
        if not fitting:
            continue
        chosen = fitting[int(torch.randint(len(fitting), (), generator=generator))]
        parent_G[feature] = members[chosen]
        n_children[chosen] += 1
        if settings.exclusive:
            room[chosen] -= p[feature]
        members.append(feature)
        depth.append(depth[chosen] + 1)
        n_children.append(0)
        room.append(ROOM * p[feature])
    return parent_G


def _fits(p: float, depth: int, n_children: int, room: float, settings: WorldSettings) -> bool:
    return depth < settings.depth and n_children < settings.branching and p <= room
