"""Encoders and decoders of several restarts at once, in the coordinates of a frame, and what is measured of them."""

from dataclasses import dataclass
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.shifts.frame import Frame
from bathyscope.errors import ConfigError

CHUNK_ROWS = 8192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """R restarts: h = y @ E, ŷ = h @ B, rows of B with length 1."""

    E_RMC: Float[Tensor, "R M C"]
    """Encoders."""
    B_RCM: Float[Tensor, "R C M"]
    """Decoders."""
    price_R: Float[Tensor, " R"]
    """μ, multiplier of the constraint at which they were left."""

    @property
    def n_restarts(self) -> int:
        """R."""
        return len(self.E_RMC)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Figures of R restarts over all pairs, in float64."""

    explained_R: Float[Tensor, " R"]
    """Share of the shifts' mean square that is reconstructed: 1 - E‖δz - δẑ‖² / E‖δz‖²."""
    l1_R: Float[Tensor, " R"]
    """Mean over pairs of Σ_c |h_c|, codes in units of the frame's metric."""


def measure(columns: Columns, y_PM: Float[Tensor, "P M"], frame: Frame) -> Measured:
    """Reconstruction and L1 of each restart on all pairs."""
    weights_M = frame.weights_M.to(y_PM)
    error_R = torch.zeros(columns.n_restarts, dtype=torch.float64, device=y_PM.device)
    size_R = torch.zeros_like(error_R)
    for start in range(0, len(y_PM), CHUNK_ROWS):
        part_PM = y_PM[start : start + CHUNK_ROWS]
        codes_RPC = part_PM @ columns.E_RMC
        left_RPM = part_PM - codes_RPC @ columns.B_RCM
        error_R += (left_RPM.square() @ weights_M).double().sum(1)
        size_R += codes_RPC.abs().sum(2).double().sum(1)
    return Measured(explained_R=(frame.explained * (1 - error_R / len(y_PM))).cpu(), l1_R=(size_R / len(y_PM)).cpu())


def unit_rows(E_RMC: Float[Tensor, "R M C"], B_RCM: Float[Tensor, "R C M"]) -> Columns:
    """The same maps with rows of B brought to length 1 and codes stretched in return; multipliers of 0."""
    length_RC = B_RCM.norm(dim=2).clamp_min(1e-30)
    return Columns(
        E_RMC=(E_RMC * length_RC[:, None]).contiguous(),
        B_RCM=(B_RCM / length_RC[:, :, None]).contiguous(),
        price_R=torch.zeros(len(E_RMC)),
    )


def refitted(columns: Columns) -> Columns:
    """The same decoders, each with the encoder that reconstructs best: the pseudo-inverse of its rows.

    A constraint on L1 makes codes smaller than they should be. With the rows fixed this takes the shrinkage out, and
    brings all restarts to the same reconstruction, so that their L1 can be compared.
    """
    E_RMC = torch.linalg.pinv(columns.B_RCM.double()).float()
    return Columns(E_RMC=E_RMC.contiguous(), B_RCM=columns.B_RCM, price_R=columns.price_R)


def chosen(columns: Columns, restart: int) -> Columns:
    """One restart alone."""
    of = slice(restart, restart + 1)
    return Columns(E_RMC=columns.E_RMC[of], B_RCM=columns.B_RCM[of], price_R=columns.price_R[of])


def agreement(columns: Columns, frame: Frame) -> float:
    """Mean over pairs of restarts of the mean |cosine| of decoder rows in their best one-to-one assignment.

    Rows are compared as directions of the activations. NaN for a single restart.
    """
    rows_RCD = [torch.nn.functional.normalize(frame.rows(B_CM.cpu()), dim=1) for B_CM in columns.B_RCM]
    found = [
        float(matched_rows(rows_RCD[a], rows_RCD[b]).mean())
        for a in range(len(rows_RCD))
        for b in range(a + 1, len(rows_RCD))
    ]
    return sum(found) / len(found) if found else float("nan")


def matched_rows(a_CD: Float[Tensor, "C D"], b_GD: Float[Tensor, "G D"]) -> Float[Tensor, " K"]:
    """|cosine| of each pair in the best one-to-one assignment of two sets of unit rows; K = min(C, G)."""
    from scipy.optimize import linear_sum_assignment

    cosine_CG = (a_CD @ b_GD.T).abs()
    rows, partners = linear_sum_assignment(cosine_CG.numpy(), maximize=True)
    return cosine_CG[torch.from_numpy(rows), torch.from_numpy(partners)]


def require_assignment() -> None:
    """Raise ConfigError saying what to install when SciPy, which assigns rows to rows, is missing."""
    if find_spec("scipy") is None:
        raise ConfigError("comparing restarts needs SciPy: pip install 'bathyscope[science]'")
