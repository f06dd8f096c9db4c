"""How far a reconstruction is from its target when each rank holds some of the features that make it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.error import Error, reconstruction_error
from bathyscope.dictionaries.kernels.select import Pairs
from bathyscope.dictionaries.ranks.mesh import Mesh


def summed_error(
    x_ND: Float[Tensor, "N D"], own: Pairs, W_dec_FD: Float[Tensor, "F D"], b_dec_D: Float[Tensor, " D"], mesh: Mesh
) -> Error:
    """The error of this rank's tokens with the features of all ranks; its gradients are those of this rank's rows.

    The bias, which every column of the mesh holds, gets its gradient in the first column alone.
    """
    if mesh.n_feature_ranks == 1:
        return reconstruction_error(x_ND, *own, W_dec_FD, b_dec_D)
    guess_ND = summed_parts(decode_pairs(*own, W_dec_FD, torch.zeros_like(x_ND[0])), mesh)
    return error_of(x_ND, guess_ND, b_dec_D, mesh)


def error_of(
    x_ND: Float[Tensor, "N D"], guess_ND: Float[Tensor, "N D"], b_dec_D: Float[Tensor, " D"], mesh: Mesh
) -> Error:
    """The error of a guess that is already that of all features but lacks the bias."""
    residual_ND = x_ND - guess_ND - (b_dec_D if mesh.feature_rank == 0 else b_dec_D.detach())
    return Error(residual_ND.square().sum(), residual_ND.detach())


def summed_parts(part_ND: Float[Tensor, "N D"], mesh: Mesh) -> Float[Tensor, "N D"]:
    """The sum of the columns' parts of a reconstruction, as a function of this rank's part."""
    return _SummedParts.apply(part_ND, mesh) if mesh.n_feature_ranks > 1 else part_ND


class _SummedParts(torch.autograd.Function):
    """Every rank goes on with the same sum to the same loss, so each part's gradient is the sum's."""

    @staticmethod
    def forward(ctx: Any, part_ND: Tensor, mesh: Mesh) -> Tensor:
        return mesh.sum_over_features(part_ND)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None
