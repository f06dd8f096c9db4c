"""Encode with the k largest features per token: dense only in the product of the forward pass.

`pre = (x - b_pre) @ W_encᵀ + b_enc`, `values = ReLU(k largest of pre)`; gradients flow through kept, positive entries.
With `absolute`: the k entries of largest size with their sign, no ReLU; gradients flow through all that are kept.
The encoder is stored by feature, [F, D], so that the gradient of a feature is one row.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.rows import by_feature, gather_tokens, mix_rows
from bathyscope.dictionaries.kernels.select import Pairs, select_largest_compiled, select_largest_reference

CHUNK_BYTES = 16 << 20
"""Size of the [rows, F] buffer of pre-activations that one call reuses: small enough that freed memory is kept."""


def encode_largest(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    k: int,
    *,
    absolute: bool = False,
) -> Pairs:
    """Values and features of each token's k largest pre-activations, compiled or in Triton where these run."""
    if engine(x_ND) != "plain":
        return Pairs(*_EncodeLargest.apply(x_ND, b_pre_D, W_enc_FD, b_enc_F, k, absolute))
    return encode_largest_reference(x_ND, b_pre_D, W_enc_FD, b_enc_F, k, absolute=absolute)


def encode_largest_reference(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    k: int,
    *,
    absolute: bool = False,
) -> Pairs:
    """The definition, differentiated by autograd. Holds [N, F]."""
    pre_NF = (x_ND - b_pre_D) @ W_enc_FD.T + b_enc_F
    return select_largest_reference(pre_NF, k, absolute=absolute)


class _EncodeLargest(torch.autograd.Function):
    """Forward without holding [N, F]; backward through kept pairs alone, the gradient to x only when asked for."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, b_pre_D: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, k: int, absolute: bool
    ) -> tuple[Tensor, Tensor]:
        centred_ND = x_ND - b_pre_D
        values_NK, indices_NK = _largest(centred_ND, W_enc_FD, b_enc_F, k, absolute=absolute)
        ctx.save_for_backward(centred_ND, W_enc_FD, values_NK, indices_NK)
        ctx.mark_non_differentiable(indices_NK)
        ctx.set_materialize_grads(False)
        ctx.absolute = absolute
        return values_NK, indices_NK

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        centred_ND, W_enc_FD, values_NK, indices_NK = ctx.saved_tensors
        (gradient_NK, _) = gradients
        assert gradient_NK is not None
        if not ctx.absolute:
            gradient_NK = torch.where(values_NK > 0, gradient_NK, 0)
        pairs = by_feature(gradient_NK, indices_NK, len(W_enc_FD))
        grad_W_enc_FD = gather_tokens(pairs, gradient_NK, centred_ND)
        grad_b_enc_F = gather_tokens(pairs, gradient_NK, gradient_NK.new_ones(len(centred_ND), 1)).flatten()
        grad_b_pre_D = -(grad_b_enc_F @ W_enc_FD)
        grad_x_ND = None
        if ctx.needs_input_grad[0]:
            grad_x_ND = torch.zeros_like(centred_ND)
            mix_rows(gradient_NK, indices_NK, W_enc_FD, grad_x_ND)
        return grad_x_ND, grad_b_pre_D, grad_W_enc_FD, grad_b_enc_F, None, None


def _largest(centred_ND: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, k: int, *, absolute: bool) -> Pairs:
    """The forward pass; compiled, in chunks of rows that share one buffer."""
    if engine(centred_ND) == "triton":
        from bathyscope.dictionaries.kernels.gpu import encode

        return encode.largest(centred_ND, W_enc_FD, b_enc_F, k, absolute=absolute)
    n, n_features = len(centred_ND), len(W_enc_FD)
    n_rows = min(n, max(1, CHUNK_BYTES // (n_features * centred_ND.element_size())))
    buffer = centred_ND.new_empty(n_rows, n_features)
    parts: list[Pairs] = []
    for i in range(0, n, n_rows):
        chunk = centred_ND[i : i + n_rows]
        pre = torch.mm(chunk, W_enc_FD.T, out=buffer[: len(chunk)])
        parts.append(select_largest_compiled(pre, b_enc_F, k, absolute=absolute))
    return Pairs(*map(torch.cat, zip(*parts, strict=True)))
