"""Directions to choose from, by the way they were found; every way is offered with nulls of as many draws."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LEARNT = "ssae"
DICTIONARY = "dictionary columns"
MEAN = "difference of means (supervised)"
PRINCIPAL, RANDOM = "principal components", "random columns"


class Candidates(NamedTuple):
    """Unit rows among which one is chosen for each concept."""

    name: str
    draws_RCD: Float[Tensor, "R C D"]
    """R independent draws of C rows; figures are means over draws. One draw where nothing is random."""
    is_null: bool = False
    """Whether nothing was learnt."""


def learnt(name: str, rows_CD: Float[Tensor, "C D"]) -> Candidates:
    """Rows that were learnt; rows of length 0 (columns that stayed empty) are left out."""
    rows_CD = rows_CD.detach().cpu().double()
    length_C = rows_CD.norm(dim=1)
    return Candidates(name, (rows_CD[length_C > 0] / length_C[length_C > 0, None])[None])


def principal(shifts_PD: Float[Tensor, "P D"], n: int, *, name: str = PRINCIPAL) -> Candidates:
    """The directions that hold most of the shifts' mean square, one after the other (no mean is taken off)."""
    return Candidates(name, _span(shifts_PD, n)[None])


def unconstrained(shifts_PD: Float[Tensor, "P D"], n: int, *, n_draws: int, seed: int) -> Candidates:
    """What an affine autoencoder of n columns without a constraint ends in.

    Every basis of the span of the first n principal directions reconstructs equally well, and nothing prefers one: so
    a minimiser is a random basis of it.
    """
    span_CD, generator = _span(shifts_PD, n), torch.Generator().manual_seed(seed)
    mix_RCC = torch.randn(n_draws, len(span_CD), len(span_CD), generator=generator, dtype=torch.float64)
    return Candidates("affine autoencoder, no constraint", _unit(mix_RCC @ span_CD), is_null=True)


def at_random(n: int, d_model: int, *, n_draws: int, seed: int, name: str = RANDOM) -> Candidates:
    """Directions that know nothing at all."""
    generator = torch.Generator().manual_seed(seed)
    rows_RCD = torch.randn(n_draws, n, d_model, generator=generator, dtype=torch.float64)
    return Candidates(name, _unit(rows_RCD), is_null=True)


def mean_of(shifts_PD: Float[Tensor, "P D"]) -> Candidates:
    """The one direction that labels give: the mean of the shifts to choose on."""
    return Candidates(MEAN, _unit(shifts_PD.double().mean(0)[None, None]))


def _span(shifts_PD: Tensor, n: int) -> Tensor:
    return torch.linalg.svd(shifts_PD.double(), full_matrices=False).Vh[:n]


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-300)
