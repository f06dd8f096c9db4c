"""The frequency law and hierarchy of SynthSAEBench (arXiv 2602.14687): trees filled in order of rank.

base_r = min + (max - min)·(r^-a - n^-a) / (1 - n^-a),  r = 1 … n
q_i = min(1, base_i / base_parent · (1 + Σ_siblings base / base_parent)): the chance that child i asks to fire when its
parent does; of the siblings that ask, one fires, each with equal chance

Asking more often makes up for losing against siblings, as far as it can: where siblings together are more frequent than
their parent, they fire less often than their base. So frequencies are not Zipfian in the end, and L0 is what comes out.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.evaluation.worlds.settings import WorldSettings


class Forest(NamedTuple):
    """How often each feature fires, and whose child it is."""

    frequencies_G: Float[Tensor, " G"]
    """Share of tokens in which each fires, float64."""
    parents_G: Int[Tensor, " G"]
    """Each feature's parent; -1 for none."""


def forest(settings: WorldSettings) -> Forest:
    """Trees of `n_roots` roots, each parent with `branching` children down to `depth`, filled in order of rank."""
    base_G = stretched_zipf(settings)
    parents_G = breadth_first(settings)
    frequencies_G = base_G.clone()
    for first in _first_children(parents_G):
        siblings = (parents_G == parents_G[first]).nonzero()[:, 0]
        parent = int(parents_G[first])
        ratio_C = base_G[siblings] / base_G[parent]
        asks_C = ratio_C
        if settings.exclusive and len(siblings) > 1:
            asks_C = ratio_C * (1 + ratio_C.sum() - ratio_C)
        asks_C = asks_C.clamp(max=1)
        share_C = chosen_alone(asks_C) if settings.exclusive else asks_C
        frequencies_G[siblings] = frequencies_G[parent] * share_C
    return Forest(frequencies_G, parents_G)


def stretched_zipf(settings: WorldSettings) -> Float[Tensor, " G"]:
    """`base_r`: r^-zipf mapped linearly onto the range from the lowest to the highest frequency."""
    law_G = torch.arange(1, settings.n_true + 1, dtype=torch.float64) ** -settings.zipf
    stretched_G = (law_G - law_G[-1]) / (law_G[0] - law_G[-1])
    return settings.min_frequency + (settings.max_frequency - settings.min_frequency) * stretched_G


def breadth_first(settings: WorldSettings) -> Int[Tensor, " G"]:
    """Each feature's parent: the roots come first in rank, then all their children, then these ones' children, …"""
    parents_G = torch.full((settings.n_true,), -1, dtype=torch.int64)
    above, place = range(settings.n_roots), settings.n_roots
    for _ in range(settings.depth):
        stop = min(settings.n_true, place + len(above) * settings.branching)
        parents_G[place:stop] = above.start + torch.arange(stop - place) // settings.branching
        above, place = range(place, stop), stop
    return parents_G


def chosen_alone(asks_C: Float[Tensor, " C"]) -> Float[Tensor, " C"]:
    """Chance that each is the one that fires, when each asks independently and one of those that ask is drawn.

    `P(i) = q_i · E[1 / (1 + number of others that ask)]`, exact: the number's distribution is built one by one.
    """
    chosen_C = torch.zeros_like(asks_C)
    for i in range(len(asks_C)):
        others = torch.cat([asks_C[:i], asks_C[i + 1 :]])
        counts = torch.zeros(len(asks_C), dtype=asks_C.dtype)
        counts[0] = 1
        for q in others:
            counts = counts * (1 - q) + q * torch.cat([counts.new_zeros(1), counts[:-1]])
        chosen_C[i] = asks_C[i] * (counts / torch.arange(1, len(asks_C) + 1)).sum()
    return chosen_C


def _first_children(parents_G: Tensor) -> list[int]:
    """The first child of each parent, parents of an upper generation first."""
    seen, found = set[int](), list[int]()
    for feature, parent in enumerate(parents_G.tolist()):
        if parent >= 0 and parent not in seen:
            seen.add(parent)
            found.append(feature)
    return found
