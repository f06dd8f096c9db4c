"""Decoder rows of length 1: the gradient's part along each row taken off, and rows brought back to length 1."""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.engine import Engine, engine
from bathyscope.dictionaries.kernels.threads import share_rows


def project_gradient(W_dec_FD: nn.Parameter) -> None:
    """Take off each row's gradient what is parallel to the (unit) row, so that the step does not fight its length."""
    gradient_FD = W_dec_FD.grad
    if gradient_FD is None:
        return
    rows_FD = W_dec_FD.detach()
    which = _engine(rows_FD) if gradient_FD.is_contiguous() else "plain"
    if which == "triton":
        from bathyscope.dictionaries.kernels.gpu import unit_rows as on_gpu

        on_gpu.project(rows_FD, gradient_FD)
    elif which == "compiled":
        share_rows(_project, len(rows_FD), rows_FD.numpy(), gradient_FD.numpy())
    else:
        gradient_FD.copy_(projected_reference(gradient_FD, rows_FD))


def projected_reference(gradient_FD: Float[Tensor, "F D"], rows_FD: Float[Tensor, "F D"]) -> Float[Tensor, "F D"]:
    """The definition: `g_f - (g_f · d_f) d_f`."""
    return gradient_FD - torch.linalg.vecdot(gradient_FD, rows_FD)[:, None] * rows_FD


def unit_rows(W_dec_FD: nn.Parameter) -> None:
    """Give each row length 1; a row of zeros stays."""
    rows_FD = W_dec_FD.detach()
    which = _engine(rows_FD)
    if which == "triton":
        from bathyscope.dictionaries.kernels.gpu import unit_rows as on_gpu

        on_gpu.normalise(rows_FD)
    elif which == "compiled":
        share_rows(_normalise, len(rows_FD), rows_FD.numpy())
    else:
        rows_FD.copy_(unit_rows_reference(rows_FD))


def unit_rows_reference(rows_FD: Float[Tensor, "F D"]) -> Float[Tensor, "F D"]:
    """The definition: `d_f / ‖d_f‖`."""
    return rows_FD / rows_FD.norm(dim=1, keepdim=True).clamp_min(1e-30)


def _engine(rows_FD: Tensor) -> Engine:
    return engine(rows_FD) if rows_FD.is_contiguous() else "plain"


@compiled(reorder=True)
@no_type_check
def _project(rows: NDArray[Any], gradient: NDArray[Any], start: int, stop: int) -> None:
    for f in range(start, stop):
        row, slope = rows[f], gradient[f]
        along = rows.dtype.type(0)
        for d in range(rows.shape[1]):
            along += row[d] * slope[d]
        for d in range(rows.shape[1]):
            slope[d] -= along * row[d]


@compiled(reorder=True)
@no_type_check
def _normalise(rows: NDArray[Any], start: int, stop: int) -> None:
    for f in range(start, stop):
        row = rows[f]
        square = rows.dtype.type(0)
        for d in range(rows.shape[1]):
            square += row[d] * row[d]
        if square > 0:
            factor = rows.dtype.type(1) / np.sqrt(square)
            for d in range(rows.shape[1]):
                row[d] *= factor
