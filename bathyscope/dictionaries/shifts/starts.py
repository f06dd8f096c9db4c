"""Where restarts begin: at random, or at directions along which shifts are far from normally distributed.

In whitened coordinates uncorrelated concepts are orthogonal, and a sparse concept is a direction whose codes have heavy
tails. Such directions are fixed points of M ← polar(E[y·g(yᵀM)] - M·E[g']), found in about ten rounds:

`fourth`: g(h) = h³ without the second summand, which maximises Σ E h⁴ over rotations (the matching, stretching and
projection of Zhai et al. 2019, arXiv 1906.02435); `tanh`: FastICA with symmetric orthogonalisation (Hyvärinen 1999),
less led by single outliers. A start uses its own random half of the pairs, so that starts agree where pairs in general
say so and not merely because they looked at the same noise. No start is trusted: the constraint has the last word.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.shifts.columns import Columns, unit_rows
from bathyscope.dictionaries.shifts.frame import Frame

StartKind = Literal["peaked", "random", "tied"]
"""`peaked`: rotations found by fixed points, `fourth` and `tanh` in turn. `random`: random rotations, which reconstruct
all that there is. `tied`: random unit rows and the encoder their transpose, as in the paper."""
ROUNDS, TOLERANCE = 200, 1e-5
SLOPE = 1.5
"""a in tanh(a·h)."""


def starts(
    y_PM: Float[Tensor, "P M"], frame: Frame, *, kind: StartKind, n_restarts: int, generator: torch.Generator
) -> Columns:
    """R starts with as many columns as the frame has coordinates; all but `tied` reconstruct what the frame holds."""
    if kind == "tied":
        return _tied(y_PM, n_restarts, generator)
    white_PM = frame.whiten(y_PM)
    m = y_PM.shape[1]
    found: list[Tensor] = []
    for restart in range(n_restarts):
        start_MM = rotation(torch.randn(m, m, generator=generator)).to(y_PM)
        if kind == "peaked":
            half = torch.randperm(len(y_PM), generator=generator)[: max(m, len(y_PM) // 2)]
            start_MM = peaked(white_PM[half.to(y_PM.device)], start_MM, by=("fourth", "tanh")[restart % 2])
        found.append(start_MM)
    turn_RMC = torch.stack(found)
    per_unit_M = (frame.unit_M / frame.moment_M.sqrt()).to(y_PM)
    return unit_rows(turn_RMC * per_unit_M[:, None], turn_RMC.transpose(1, 2) / per_unit_M)


def _tied(y_PM: Tensor, n_restarts: int, generator: torch.Generator) -> Columns:
    m = y_PM.shape[1]
    B_RCM = torch.randn(n_restarts, m, m, generator=generator).to(y_PM)
    B_RCM /= B_RCM.norm(dim=2, keepdim=True)
    return unit_rows(B_RCM.transpose(1, 2).contiguous(), B_RCM)


def peaked(
    white_PM: Float[Tensor, "P M"], start_MM: Float[Tensor, "M M"], *, by: Literal["fourth", "tanh"]
) -> Float[Tensor, "M M"]:
    """The rotation that the rounds lead to from `start_MM`; columns are directions."""
    turn_MM = start_MM
    for _ in range(ROUNDS):
        codes_PM = white_PM @ turn_MM
        if by == "fourth":
            moved_MM = white_PM.T @ codes_PM.pow(3)
        else:
            bent_PM = (SLOPE * codes_PM).tanh()
            slope_M = SLOPE * (1 - bent_PM.square()).sum(0)
            moved_MM = white_PM.T @ bent_PM - turn_MM * slope_M
        moved_MM = rotation(moved_MM)
        still = (moved_MM * turn_MM).sum(0).abs().min()
        turn_MM = moved_MM
        if float(1 - still) < TOLERANCE:
            break
    return turn_MM


def rotation(matrix_MM: Float[Tensor, "M M"]) -> Float[Tensor, "M M"]:
    """The nearest orthogonal matrix (polar factor)."""
    left_MM, _, right_MM = torch.linalg.svd(matrix_MM)
    return left_MM @ right_MM
