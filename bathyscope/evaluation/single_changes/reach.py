"""How close one direction comes: column, sign and strength chosen on one half, cosines measured on the other."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.evaluation.single_changes.candidates import Candidates
from bathyscope.evaluation.single_changes.turned import SingleChange, Turned

STRENGTHS = torch.linspace(0.1, 3.0, 30, dtype=torch.float64)
"""Strengths that are tried, in multiples of the mean length of the shift along the direction."""


class Reach(NamedTuple):
    """Figures of every reported pair, means over draws."""

    shift_P: Float[Tensor, " P"]
    """cos(±d, z̃ - z): how well the direction is the change."""
    target_P: Float[Tensor, " P"]
    """cos(z + α·d, z̃): how close the moved activation is to the other side."""
    untouched_P: Float[Tensor, " P"]
    """cos(z, z̃): the same with nothing added, which is high already."""


class Choice(NamedTuple):
    """One direction with its sign and strength."""

    column: int
    direction_D: Float[Tensor, " D"]
    """Unit, with the sign that agrees with the change."""
    strength: float
    """α, in units of the activations."""


def reach(candidates: Candidates, change: SingleChange) -> Reach:
    """Figures of the best candidate of each draw for one concept."""
    report = change.report
    chosen = [choose(rows_CD, change.choose) for rows_CD in candidates.draws_RCD]
    return Reach(
        shift_P=_mean([cosines(report.shifts_PD, one.direction_D) for one in chosen]),
        target_P=_mean([cosines(report.z_PD + one.strength * one.direction_D, report.target_PD) for one in chosen]),
        untouched_P=cosines(report.z_PD, report.target_PD),
    )


def choose(rows_CD: Float[Tensor, "C D"], half: Turned) -> Choice:
    """The row whose mean cosine with the shifts is the largest in size; then the strength that comes closest."""
    shifts_PD = half.shifts_PD
    mean_C = (torch.nn.functional.normalize(shifts_PD, dim=1) @ rows_CD.T).mean(0)
    column = int(mean_C.abs().argmax())
    direction_D = rows_CD[column] * (1.0 if mean_C[column] >= 0 else -1.0)
    along = float((shifts_PD @ direction_D).mean().clamp_min(0))
    tried = [cosines(half.z_PD + along * float(s) * direction_D, half.target_PD).mean() for s in STRENGTHS]
    return Choice(column, direction_D, along * float(STRENGTHS[int(torch.stack(tried).argmax())]))


def cosines(a_PD: Float[Tensor, "P D"], b: Float[Tensor, "*p D"]) -> Float[Tensor, " P"]:
    """Cosine of each row with the row, or the one vector, of `b`; 0 where one has no length."""
    return torch.nn.functional.cosine_similarity(a_PD, b.expand_as(a_PD), dim=1, eps=1e-300)


def _mean(draws: list[Tensor]) -> Tensor:
    return torch.stack(draws).mean(0)
