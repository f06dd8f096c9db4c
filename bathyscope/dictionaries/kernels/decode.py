"""Decode (values, features) pairs: `x̂ = Σ_j values[j] · W_dec[features[j]] + b_dec`, without a dense code matrix."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.kernels.rows import by_feature, compare_rows, gather_tokens, mix_rows


def decode_pairs(
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
) -> Float[Tensor, "N D"]:
    """Reconstructions: compiled, in Triton, or in plain PyTorch. Differentiable in everything but the features."""
    return _DecodePairs.apply(values_NK, indices_NK, W_dec_FD, b_dec_D)


def decode_pairs_reference(
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
) -> Float[Tensor, "N D"]:
    """The definition, differentiated by autograd."""
    bags_ND = torch.nn.functional.embedding_bag(indices_NK, W_dec_FD, per_sample_weights=values_NK, mode="sum")
    return bags_ND + b_dec_D


class _DecodePairs(torch.autograd.Function):
    """Both passes touch active pairs alone; the gradient of the values is exact for values of 0 too."""

    @staticmethod
    def forward(ctx: Any, values_NK: Tensor, indices_NK: Tensor, W_dec_FD: Tensor, b_dec_D: Tensor) -> Tensor:
        ctx.save_for_backward(values_NK, indices_NK, W_dec_FD)
        guess_ND = b_dec_D.detach().repeat(len(values_NK), 1)
        mix_rows(values_NK, indices_NK, W_dec_FD, guess_ND)
        return guess_ND

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        values_NK, indices_NK, W_dec_FD = ctx.saved_tensors
        (gradient_ND,) = gradients
        assert gradient_ND is not None
        gradient_ND = gradient_ND.contiguous()
        grad_values_NK = compare_rows(gradient_ND, W_dec_FD, indices_NK) if ctx.needs_input_grad[0] else None
        grad_W_dec_FD = grad_b_dec_D = None
        if ctx.needs_input_grad[2]:
            pairs = by_feature(values_NK, indices_NK, len(W_dec_FD))
            grad_W_dec_FD = gather_tokens(pairs, values_NK, gradient_ND)
        if ctx.needs_input_grad[3]:
            grad_b_dec_D = gradient_ND.sum(0)
        return grad_values_NK, None, grad_W_dec_FD, grad_b_dec_D
