"""The frame in which shifts are solved: their few directions of largest variation, each brought to the same size.

y = ((δz - offset) @ basisᵀ) / unit.  With the `whitened` metric unit_m = √λ_m, so that E y yᵀ = 1; with `plain` all
units are equal. A linear autoencoder with n columns reaches its best reconstruction inside the n leading directions
(they are its closed form), so nothing is lost, and each step costs n instead of D.

Why whiten: decoder rows must have unit length for an L1 constraint to mean anything, and the metric says what length
is. In the plain one a frequent or long concept weighs more than a rare one, and where directions are far from
orthogonal, mixtures of concepts can have a smaller L1 than the concepts. In the whitened one uncorrelated concepts are
orthogonal and equally long, whatever directions they have in the model.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError

Metric = Literal["whitened", "plain"]
"""In which metric a decoder row has length 1 while it is learnt; finished rows always have it in the plain one."""
CHUNK_ROWS = 8192
"""Pairs that are held in float64 at once."""
LEAST_SHARE = 1e-9
"""Directions with less than this share of the largest direction's second moment count as absent (float32 noise)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """Coordinates of shifts. M is their number; everything is float64."""

    offset_D: Float[Tensor, " D"]
    """What is taken off each shift: 0, or their mean."""
    basis_MD: Float[Tensor, "M D"]
    """Orthonormal rows, largest variation first."""
    unit_M: Float[Tensor, " M"]
    """Size of one unit of each coordinate, in units of the activations."""
    moment_M: Float[Tensor, " M"]
    """λ: mean square of the shifts along each row."""
    total: float
    """Mean square of the shifts over all directions."""
    rank: int
    """Number of directions in which shifts vary at all."""
    effective_rank: float
    """exp of the entropy of the shares of all directions: 1 for a single direction, D for a round cloud."""

    @property
    def explained(self) -> float:
        """Share of the shifts' mean square that these directions hold: the most that M columns can reconstruct."""
        return float(self.moment_M.sum()) / self.total

    @property
    def weights_M(self) -> Float[Tensor, " M"]:
        """Share of the reconstructable mean square that one squared unit of each coordinate stands for."""
        return self.unit_M.square() / self.moment_M.sum()

    def coordinates(self, shifts_PD: Float[Tensor, "P D"]) -> Float[Tensor, "P M"]:
        """y, float32, computed a slice of pairs at a time."""
        slices = shifts_PD.split(CHUNK_ROWS)
        return torch.cat([((part.double() - self.offset_D) @ self.basis_MD.T / self.unit_M).float() for part in slices])

    def whiten(self, y_PM: Float[Tensor, "P M"]) -> Float[Tensor, "P M"]:
        """The coordinates with a mean square of 1 each, whatever the metric."""
        return y_PM * (self.unit_M / self.moment_M.sqrt()).to(y_PM)

    def rows(self, B_CM: Float[Tensor, "C M"]) -> Float[Tensor, "C D"]:
        """Decoder rows of the frame as directions in the activations (of any length)."""
        return (B_CM.double() * self.unit_M) @ self.basis_MD

    def encoder(self, E_MC: Float[Tensor, "M C"]) -> Float[Tensor, "D C"]:
        """The encoder of the frame as one of shifts (with the offset taken off)."""
        return self.basis_MD.T @ (E_MC.double() / self.unit_M[:, None])


def frame_of(shifts_PD: Float[Tensor, "P D"], *, n_columns: int, metric: Metric, centre: bool = False) -> Frame:
    """The frame of the `n_columns` leading directions (fewer where shifts vary in fewer).

    Directions are those of the second moment, not of the covariance: a pair has a natural zero, and a concept that
    changes the same way in every pair must not vanish in a mean. `centre` takes the mean off all the same.
    Raises ConfigError when nothing is left that varies.
    """
    mean_D = shifts_PD.mean(0, dtype=torch.float64)
    offset_D = mean_D if centre else torch.zeros_like(mean_D)
    moment_N, basis_ND = _directions(shifts_PD, offset_D)
    total = float(moment_N.sum())
    rank = int((moment_N > LEAST_SHARE * float(moment_N.max())).sum()) if total > 0 else 0
    if rank == 0:
        raise ConfigError("all shifts are equal once their mean is taken off: learn without `centre`")
    m = min(n_columns, rank)
    moment_M = moment_N[:m].contiguous()
    plain_M = (moment_M.sum() / m).sqrt().expand(m).contiguous()
    share_N = moment_N[:rank] / moment_N[:rank].sum()
    return Frame(
        offset_D=offset_D,
        basis_MD=basis_ND[:m].contiguous(),
        unit_M=moment_M.sqrt() if metric == "whitened" else plain_M,
        moment_M=moment_M,
        total=total,
        rank=rank,
        effective_rank=float(torch.exp(-(share_N * share_N.log()).sum())),
    )


def _directions(shifts_PD: Tensor, offset_D: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares, falling, and orthonormal rows; of the smaller of the two product matrices.

    The sign of each row is fixed (its largest entry is positive), so that libraries cannot choose it.
    """
    p, d = shifts_PD.shape
    if p >= d:
        moment_DD = torch.zeros(d, d, dtype=torch.float64)
        for part_PD in shifts_PD.split(CHUNK_ROWS):
            wide_PD = part_PD.double() - offset_D
            moment_DD += wide_PD.T @ wide_PD / p
        value_D, vector_DD = torch.linalg.eigh(moment_DD)
        moment, rows = value_D.flip(0).clamp_min(0), vector_DD.T.flip(0)
    else:
        wide_PD = shifts_PD.double() - offset_D
        value_P, vector_PP = torch.linalg.eigh(wide_PD @ wide_PD.T / p)
        moment = value_P.flip(0).clamp_min(0)
        rows = torch.nn.functional.normalize(vector_PP.T.flip(0) @ wide_PD, dim=1)
    largest = rows.abs().argmax(dim=1, keepdim=True)
    return moment, rows * rows.gather(1, largest).sign()
