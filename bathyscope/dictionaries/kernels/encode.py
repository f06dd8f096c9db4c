"""Encode with the k largest features per token: dense only in the product of the forward pass.

`pre = (x - b_pre) @ W_encᵀ + b_enc`, `values = ReLU(k largest of pre)`; gradients flow through kept, positive entries.
With `absolute`: the k entries of largest size with their sign, no ReLU; gradients flow through all that are kept.
The encoder is stored by feature, [F, D], so that the gradient of a feature is one row.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.kernels import plain
from bathyscope.dictionaries.kernels.contenders import Contenders
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.rows import by_feature, gather_tokens, mix_rows
from bathyscope.dictionaries.kernels.select import Pairs, select_largest_compiled, select_largest_reference

CHUNK_BYTES = 32 << 20
"""Size of the buffer of pre-activations that one call reuses: small enough that freed memory is kept."""
BLOCK_ROWS = 4096
"""Most tokens whose pre-activations are made at once, a block of features at a time."""
LEAST_PER_K = 8
"""Features of a block for each of k; in narrower blocks most entries would be kept, and whole rows are made instead."""


def encode_largest(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    k: int,
    *,
    absolute: bool = False,
) -> Pairs:
    """Values and features of each token's k largest pre-activations: compiled, in Triton, or in plain PyTorch."""
    return Pairs(*_EncodeLargest.apply(x_ND, b_pre_D, W_enc_FD, b_enc_F, k, absolute))


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


def largest_compiled(
    centred_ND: Float[Tensor, "N D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    k: int,
    *,
    absolute: bool = False,
) -> Pairs:
    """The k largest of `centred @ W_encᵀ + b_enc` on a CPU, without gradients; holds `CHUNK_BYTES` of it at a time.

    By blocks of features for many tokens: each encoder row is packed for the product once, and what is compared with
    the bound is still in the cache.
    """
    n_features = len(W_enc_FD)
    parts: list[Pairs] = []
    for chunk_ND in centred_ND.split(BLOCK_ROWS):
        n_blocks = math.ceil(n_features * len(chunk_ND) * chunk_ND.element_size() / CHUNK_BYTES)
        width = math.ceil(n_features / max(1, n_blocks))
        if width >= LEAST_PER_K * k:
            parts.append(_by_blocks(chunk_ND, W_enc_FD, b_enc_F, k, width, absolute=absolute))
        else:
            parts.append(_by_rows(chunk_ND, W_enc_FD, b_enc_F, k, absolute=absolute))
    if len(parts) == 1:
        return parts[0]
    return Pairs(torch.cat([part.values_NK for part in parts]), torch.cat([part.indices_NK for part in parts]))


def _by_blocks(chunk_ND: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, k: int, width: int, *, absolute: bool) -> Pairs:
    n = len(chunk_ND)
    contenders = Contenders(n, k, dtype=chunk_ND.dtype, absolute=absolute)
    buffer = chunk_ND.new_empty(n * width)
    for W_MD, b_M in zip(W_enc_FD.split(width), b_enc_F.split(width), strict=True):
        pre_NM = buffer[: n * len(W_MD)].view(n, len(W_MD))
        contenders.take(torch.mm(chunk_ND, W_MD.T, out=pre_NM), b_M)
    pairs, is_whole_N = contenders.largest()
    if not is_whole_N.all():  # NaN: a row that holds too few numbers says so
        odd_M = torch.from_numpy(np.flatnonzero(~is_whole_N))
        rest = _by_rows(chunk_ND[odd_M], W_enc_FD, b_enc_F, k, absolute=absolute)
        pairs.values_NK[odd_M], pairs.indices_NK[odd_M] = rest
    return pairs


def _by_rows(chunk_ND: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, k: int, *, absolute: bool) -> Pairs:
    n, n_features = len(chunk_ND), len(W_enc_FD)
    n_rows = min(n, max(1, CHUNK_BYTES // (n_features * chunk_ND.element_size())))
    buffer = chunk_ND.new_empty(n_rows, n_features)
    values_NK, indices_NK = chunk_ND.new_empty(n, k), torch.empty(n, k, dtype=torch.int64)
    for i in range(0, n, n_rows):
        rows_ND = chunk_ND[i : i + n_rows]
        pre = torch.mm(rows_ND, W_enc_FD.T, out=buffer[: len(rows_ND)])
        values_NK[i : i + n_rows], indices_NK[i : i + n_rows] = select_largest_compiled(
            pre, b_enc_F, k, absolute=absolute
        )
    return Pairs(values_NK, indices_NK)


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
    """The forward pass."""
    match engine(centred_ND):
        case "compiled":
            return largest_compiled(centred_ND, W_enc_FD, b_enc_F, k, absolute=absolute)
        case "triton":
            from bathyscope.dictionaries.kernels.gpu import encode

            return encode.largest(centred_ND, W_enc_FD, b_enc_F, k, absolute=absolute)
        case "plain":
            return plain.largest(centred_ND, W_enc_FD, b_enc_F, k, absolute=absolute)
