"""`Parts`: activations as sums of parts that are drawn independently of each other, each from some input.

    x = base + Σ_b part_b + rest,   part_b = Σ_{f in block b} c_nf · W_dec[f] of an input n of its own

Blocks divide the features of a dictionary; `rest`, what it does not reconstruct, is one more part. Under the *tilt* by
v each part's law is weighed by exp(v · part): the same sums, drawn with density exp(v·x - K(v)), where
K(v) = log E exp(v·x). Knows nothing of events.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dictionary import Dictionary

MOST_UNIFORMS = 1 << 22
"""Uniform numbers held at once while drawing: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """What N inputs gave of each part. An *atom* is what one block held on one input, where that was not nothing."""

    n_inputs: int
    """N."""
    n_blocks: int
    """G, blocks of features."""
    block_A: Int[Tensor, " A"]
    """Block of each atom, ascending."""
    input_A: Int[Tensor, " A"]
    """Input that it was seen on."""
    first_A: Int[Tensor, " A"]
    """Its first entry."""
    length_A: Int[Tensor, " A"]
    """Number of its entries, which follow each other."""
    feature_E: Int[Tensor, " E"]
    """Feature of each entry."""
    value_E: Float[Tensor, " E"]
    """Its code, float64."""
    directions_FD: Float[Tensor, "F D"]
    """What a code of 1 writes, float64."""
    base_D: Float[Tensor, " D"]
    """Added to every sum, float64."""
    rest_ND: Float[Tensor, "N D"]
    """What no feature writes, for each input, float64."""

    @property
    def absent_G(self) -> Float[Tensor, " G"]:
        """Inputs on which each block held nothing, float64."""
        return self.n_inputs - self.block_A.bincount(minlength=self.n_blocks).double()

    def effects(self, v_D: Float[Tensor, " D"]) -> Float[Tensor, " A"]:
        """v · part for each atom; differentiable in v."""
        entry_E = self.value_E * (self.directions_FD @ v_D)[self.feature_E]
        atom_E = torch.arange(len(self.block_A)).repeat_interleave(self.length_A)
        return entry_E.new_zeros(len(self.block_A)).index_add(0, atom_E, entry_E)


def parts_of(
    dictionary: Dictionary, codes: Codes, x_ND: Float[Tensor, "N D"], blocks: Sequence[Sequence[int]]
) -> Parts:
    """The parts of these activations, whose codes these are; `blocks` holds each feature of the dictionary once."""
    place_F = torch.empty(codes.n_features, dtype=torch.int64)
    for number, features in enumerate(blocks):
        place_F[list(features)] = number
    row_NK = torch.arange(len(x_ND))[:, None].expand_as(codes.indices_NK)
    real_NK = codes.values_NK != 0
    key_E = place_F[codes.indices_NK[real_NK]] * len(x_ND) + row_NK[real_NK]
    order_E = key_E.argsort(stable=True)
    key_A, length_A = key_E[order_E].unique_consecutive(return_counts=True)
    return Parts(
        n_inputs=len(x_ND),
        n_blocks=len(blocks),
        block_A=key_A // len(x_ND),
        input_A=key_A % len(x_ND),
        first_A=length_A.cumsum(0) - length_A,
        length_A=length_A,
        feature_E=codes.indices_NK[real_NK][order_E],
        value_E=codes.values_NK[real_NK][order_E].double(),
        directions_FD=dictionary.W_dec.detach().double(),
        base_D=dictionary.b_dec.detach().double(),
        rest_ND=(x_ND - dictionary.decode(codes)).double(),
    )


class Shares(NamedTuple):
    """How a tilt weighs what a part may be."""

    log_moment: Float[Tensor, ""]
    """K(v), differentiable in v."""
    atom_A: Float[Tensor, " A"]
    """Probability of each atom within its block."""
    absent_G: Float[Tensor, " G"]
    """Probability that a block holds nothing."""
    rest_N: Float[Tensor, " N"]
    """Probability of each input's rest."""


def tilted(parts: Parts, v_D: Float[Tensor, " D"]) -> Shares:
    """The tilt of each part by v; v = 0 gives the inputs' own shares."""
    effect_A, absent_G = parts.effects(v_D), parts.absent_G
    top_G = torch.zeros(parts.n_blocks, dtype=torch.float64)  # the effect of nothing, which is the least that is taken
    top_G = top_G.scatter_reduce(0, parts.block_A, effect_A.detach(), "amax")
    mass_A = (effect_A - top_G[parts.block_A]).exp()
    nothing_G = absent_G * (-top_G).exp()
    total_G = nothing_G.index_add(0, parts.block_A, mass_A)
    rest_N = parts.rest_ND @ v_D
    log_moment = parts.base_D @ v_D + (top_G + (total_G / parts.n_inputs).log()).sum()
    return Shares(
        log_moment=log_moment + rest_N.logsumexp(0) - math.log(parts.n_inputs),
        atom_A=mass_A / total_G[parts.block_A],
        absent_G=nothing_G / total_G,
        rest_N=rest_N.softmax(0),
    )


def drawn(parts: Parts, shares: Shares, n: int, *, generator: torch.Generator) -> Float[Tensor, "M D"]:
    """`n` sums whose parts are drawn independently with these shares, float64."""
    size = max(1, MOST_UNIFORMS // parts.n_blocks)
    up_to_A = _up_to(parts, shares)
    pieces = [_drawn(parts, up_to_A, min(size, n - first), generator) for first in range(0, n, size)]
    rest_M = torch.multinomial(shares.rest_N, n, replacement=True, generator=generator)
    return torch.cat(pieces) + parts.rest_ND[rest_M] + parts.base_D


def times_taken(parts: Parts, shares: Shares) -> Float[Tensor, " N"]:
    """How many parts of a drawn sum come from each input, on average; a block's nothing is shared by all that had it.

    Sums to the number of parts, `rest` included.
    """
    absent_G = parts.absent_G
    each_G = torch.where(absent_G > 0, shares.absent_G / absent_G.clamp(min=1), 0.0)
    taken_N = each_G.sum() + shares.rest_N
    return taken_N.index_add(0, parts.input_A, shares.atom_A - each_G[parts.block_A])


def _up_to(parts: Parts, shares: Shares) -> Float[Tensor, " A"]:
    """For each atom its block's number plus the probability of it and the block's atoms before it: ascending."""
    total_G = torch.zeros(parts.n_blocks, dtype=torch.float64).index_add(0, parts.block_A, shares.atom_A)
    before_G = total_G.cumsum(0) - total_G
    within_A = (shares.atom_A.cumsum(0) - before_G[parts.block_A]).clamp(0, 1)
    return parts.block_A + within_A


def _drawn(parts: Parts, up_to_A: Tensor, n: int, generator: torch.Generator) -> Float[Tensor, "M D"]:
    """`n` sums of the blocks alone. A uniform number finds its block's atom, or goes beyond the last: nothing."""
    block_G = torch.arange(parts.n_blocks)
    uniform_MG = torch.rand(n, parts.n_blocks, dtype=torch.float64, generator=generator)
    atom_MG = torch.searchsorted(up_to_A, uniform_MG + block_G, right=True)
    owner_A1 = torch.cat([parts.block_A, torch.tensor([parts.n_blocks])])
    inside_MG = owner_A1[atom_MG] == block_G
    row_X, atom_X = inside_MG.nonzero()[:, 0], atom_MG[inside_MG]
    length_X = parts.length_A[atom_X]
    offset_Y = torch.arange(int(length_X.sum())) - (length_X.cumsum(0) - length_X).repeat_interleave(length_X)
    entry_Y = parts.first_A[atom_X].repeat_interleave(length_X) + offset_Y
    codes_MF = torch.zeros(n, len(parts.directions_FD), dtype=torch.float64)
    codes_MF[row_X.repeat_interleave(length_X), parts.feature_E[entry_Y]] = parts.value_E[entry_Y]
    return codes_MF @ parts.directions_FD
