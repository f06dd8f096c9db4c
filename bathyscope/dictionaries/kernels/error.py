"""How far reconstructions from (values, features) pairs are from their target: `Σ_n ‖x_n - x̂_n‖²`."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.kernels.decode import decode_pairs_reference
from bathyscope.dictionaries.kernels.rows import by_feature, gather_tokens, residual_rows


class Error(NamedTuple):
    """A batch's reconstruction error."""

    squared: Float[Tensor, ""]
    """Σ_n ‖x_n - x̂_n‖², differentiable."""
    residual_ND: Float[Tensor, "N D"]
    """x - x̂, without gradient."""


def reconstruction_error(
    x_ND: Float[Tensor, "N D"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
) -> Error:
    """Error of `x̂ = Σ_j values[j] · W_dec[features[j]] + b_dec`: compiled, in Triton, or in plain PyTorch."""
    return Error(*_ReconstructionError.apply(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D))


def reconstruction_error_reference(
    x_ND: Float[Tensor, "N D"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
) -> Error:
    """The definition, differentiated by autograd."""
    residual_ND = x_ND - decode_pairs_reference(values_NK, indices_NK, W_dec_FD, b_dec_D)
    return Error(residual_ND.square().sum(), residual_ND.detach())


class _ReconstructionError(torch.autograd.Function):
    """The backward pass reads residual and inner products that the forward pass left, and no row of the decoder."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, values_NK: Tensor, indices_NK: Tensor, W_dec_FD: Tensor, b_dec_D: Tensor
    ) -> tuple[Tensor, Tensor]:
        left = residual_rows(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D)
        ctx.save_for_backward(left.residual_ND, left.along_NK, values_NK, indices_NK)
        ctx.n_features = len(W_dec_FD)
        ctx.mark_non_differentiable(left.residual_ND)
        ctx.set_materialize_grads(False)
        return left.squared.to(x_ND.dtype), left.residual_ND

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        residual_ND, along_NK, values_NK, indices_NK = ctx.saved_tensors
        (gradient, _) = gradients
        assert gradient is not None
        slope = -2 * gradient
        grad_x_ND = -slope * residual_ND if ctx.needs_input_grad[0] else None
        pairs = by_feature(values_NK, indices_NK, ctx.n_features)
        grad_W_dec_FD = gather_tokens(pairs, values_NK, residual_ND, factor=slope)
        return grad_x_ND, slope * along_NK, None, grad_W_dec_FD, slope * residual_ND.sum(0)
