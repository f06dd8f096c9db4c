"""The step of a ReLU dictionary under a weighted L1 penalty: from its active pairs, or from all features of all tokens.

`c = ReLU(x @ W_encᵀ + b_enc)`, `x̂ = c @ W_dec + b_dec`; the loss reads `Σ_n ‖x_n - x̂_n‖²` and `Σ_n Σ_f c_nf w_f`.
Memory: the pairs, or with dense codes N·F·4 bytes in float32 and one slice of their gradient.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.codes import Codes, fires_of
from bathyscope.dictionaries.kernels.above import encode_above
from bathyscope.dictionaries.kernels.encode import CHUNK_BYTES
from bathyscope.dictionaries.kernels.error import reconstruction_error
from bathyscope.dictionaries.kernels.jump import at_features


class ReLUStep(NamedTuple):
    """What a batch's loss is made of."""

    squared: Float[Tensor, ""]
    """Σ_n ‖x_n - x̂_n‖², differentiable."""
    size: Float[Tensor, ""]
    """Σ_n Σ_f c_nf w_f, differentiable."""
    fires_F: Int[Tensor, " F"]
    """Number of tokens in which each feature is active, without gradient."""


def sparse_relu_step(
    x_ND: Float[Tensor, "N D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
    weights_F: Float[Tensor, " F"],
) -> ReLUStep:
    """Both sums from the active pairs alone: compiled, in Triton, or in plain PyTorch."""
    values_NK, indices_NK = encode_above(x_ND, x_ND.new_zeros(x_ND.shape[1]), W_enc_FD, b_enc_F, 0.0)
    error = reconstruction_error(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D)
    size = (values_NK * at_features(weights_F, indices_NK)).sum()
    return ReLUStep(error.squared, size, Codes(values_NK.detach(), indices_NK, len(W_enc_FD)).fires())


def dense_relu_step(
    x_ND: Float[Tensor, "N D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
    weights_F: Float[Tensor, " F"],
) -> ReLUStep:
    """Both sums by slices of tokens on a CPU, by the definition elsewhere."""
    if x_ND.device.type != "cpu":
        return relu_step_reference(x_ND, W_enc_FD, b_enc_F, W_dec_FD, b_dec_D, weights_F)
    return ReLUStep(*_DenseStep.apply(x_ND, W_enc_FD, b_enc_F, W_dec_FD, b_dec_D, weights_F))


def relu_step_reference(
    x_ND: Float[Tensor, "N D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
    weights_F: Float[Tensor, " F"],
) -> ReLUStep:
    """The definition, differentiated by autograd. Holds several [N, F]."""
    codes_NF = torch.addmm(b_enc_F, x_ND, W_enc_FD.T).relu()
    squared = (x_ND - codes_NF @ W_dec_FD - b_dec_D).square().sum()
    return ReLUStep(squared, codes_NF.sum(0) @ weights_F, fires_of(codes_NF))


class _DenseStep(torch.autograd.Function):
    """The forward pass leaves codes and residual; the backward pass makes the gradient of codes slice by slice."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, W_dec_FD: Tensor, b_dec_D: Tensor, weights_F: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        codes_NF, residual_ND = x_ND.new_empty(len(x_ND), len(W_enc_FD)), torch.empty_like(x_ND)
        sums_F, fires_F = torch.zeros_like(b_enc_F), torch.zeros_like(b_enc_F, dtype=torch.int64)
        for rows in _slices(codes_NF):
            torch.addmm(b_enc_F, x_ND[rows], W_enc_FD.T, out=codes_NF[rows]).relu_()
            torch.addmm(b_dec_D, codes_NF[rows], W_dec_FD, out=residual_ND[rows])
            sums_F += codes_NF[rows].sum(0)
            fires_F += fires_of(codes_NF[rows])
        torch.sub(x_ND, residual_ND, out=residual_ND)
        ctx.save_for_backward(x_ND, W_enc_FD, W_dec_FD, weights_F, codes_NF, residual_ND, sums_F)
        ctx.mark_non_differentiable(fires_F)
        return residual_ND.square().sum(), sums_F @ weights_F, fires_F

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        x_ND, W_enc_FD, W_dec_FD, weights_F, codes_NF, residual_ND, sums_F = ctx.saved_tensors
        to_squared, to_size, _ = gradients
        to_decoded_ND, to_codes_F = -2 * to_squared * residual_ND, to_size * weights_F
        grad_W_enc_FD, grad_b_enc_F = torch.zeros_like(W_enc_FD), torch.zeros_like(to_codes_F)
        grad_x_ND = -to_decoded_ND if ctx.needs_input_grad[0] else None
        for rows in _slices(codes_NF):
            to_pre_RF = torch.addmm(to_codes_F, to_decoded_ND[rows], W_dec_FD.T)
            to_pre_RF.masked_fill_(codes_NF[rows] == 0, 0)
            grad_W_enc_FD.addmm_(to_pre_RF.T, x_ND[rows])
            grad_b_enc_F += to_pre_RF.sum(0)
            if grad_x_ND is not None:
                grad_x_ND[rows].addmm_(to_pre_RF, W_enc_FD)
        grad_W_dec_FD, grad_b_dec_D = codes_NF.T @ to_decoded_ND, to_decoded_ND.sum(0)
        return grad_x_ND, grad_W_enc_FD, grad_b_enc_F, grad_W_dec_FD, grad_b_dec_D, to_size * sums_F


def _slices(codes_NF: Tensor) -> list[slice]:
    """Tokens whose codes take `CHUNK_BYTES`."""
    n, n_features = codes_NF.shape
    n_rows = max(1, CHUNK_BYTES // max(1, n_features * codes_NF.element_size()))
    return [slice(first, first + n_rows) for first in range(0, n, n_rows)]
