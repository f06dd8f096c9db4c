"""The sparse step in plain PyTorch, for devices and element types that no compiled kernel takes.

Dense only in the encoder's product, a chunk of tokens at a time; everything else is made of (value, feature) pairs:
sums of rows are `embedding_bag`s, forward over a token's features, backward over a feature's tokens.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

CHUNK_BYTES = 64 << 20
"""Size of the buffers of pre-activations and of gathered rows."""
PER_GROUP = (8, 4, 2)
"""Columns of a group in the first stage of the selection, by which F must be divisible."""


class Largest(NamedTuple):
    """The k largest entries of each row."""

    values_NK: Float[Tensor, "N K"]
    indices_NK: Int[Tensor, "N K"]


def encode_largest(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    k: int,
    *,
    absolute: bool,
) -> Largest:
    """What `encode.encode_largest` gives, in PyTorch's order."""
    return Largest(*_EncodeLargest.apply(x_ND, b_pre_D, W_enc_FD, b_enc_F, k, absolute))


def decode_pairs(
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
) -> Float[Tensor, "N D"]:
    """What `decode.decode_pairs` gives."""
    return _DecodePairs.apply(values_NK, indices_NK, W_dec_FD, b_dec_D)


class _EncodeLargest(torch.autograd.Function):
    """Encoding without a matrix of [N, F]; the gradient to x only when someone asks for it."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, b_pre_D: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, k: int, absolute: bool
    ) -> tuple[Tensor, Tensor]:
        centred_ND = x_ND - b_pre_D
        n_rows = max(1, CHUNK_BYTES // (len(W_enc_FD) * x_ND.element_size()))
        parts = [
            largest_in_two_stages(torch.addmm(b_enc_F, chunk_ND, W_enc_FD.T), k, absolute=absolute)
            for chunk_ND in centred_ND.split(n_rows)
        ]
        values_NK = torch.cat([part.values_NK for part in parts])
        indices_NK = torch.cat([part.indices_NK for part in parts])
        if not absolute:
            values_NK = values_NK.relu()
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
        gradient_NK = gradients[0]
        assert gradient_NK is not None
        if not ctx.absolute:
            gradient_NK = torch.where(values_NK > 0, gradient_NK, 0)
        n_features = len(W_enc_FD)
        grad_W_enc_FD = sum_by_feature(gradient_NK, indices_NK, centred_ND, n_features)
        grad_b_enc_F = gradient_NK.new_zeros(n_features).index_add(0, indices_NK.flatten(), gradient_NK.flatten())
        grad_x_ND = None
        if ctx.needs_input_grad[0]:
            grad_x_ND = embedding_bag(indices_NK, W_enc_FD, per_sample_weights=gradient_NK, mode="sum")
        return grad_x_ND, -(grad_b_enc_F @ W_enc_FD), grad_W_enc_FD, grad_b_enc_F, None, None


class _DecodePairs(torch.autograd.Function):
    """Decoding whose gradients touch active pairs alone."""

    @staticmethod
    def forward(ctx: Any, values_NK: Tensor, indices_NK: Tensor, W_dec_FD: Tensor, b_dec_D: Tensor) -> Tensor:
        ctx.save_for_backward(values_NK, indices_NK, W_dec_FD)
        return embedding_bag(indices_NK, W_dec_FD, per_sample_weights=values_NK, mode="sum") + b_dec_D

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        values_NK, indices_NK, W_dec_FD = ctx.saved_tensors
        gradient_ND = gradients[0]
        assert gradient_ND is not None
        grad_values_NK = compare(gradient_ND, W_dec_FD, indices_NK) if ctx.needs_input_grad[0] else None
        grad_W_dec_FD = None
        if ctx.needs_input_grad[2]:
            grad_W_dec_FD = sum_by_feature(values_NK, indices_NK, gradient_ND, len(W_dec_FD))
        return grad_values_NK, None, grad_W_dec_FD, gradient_ND.sum(0) if ctx.needs_input_grad[3] else None


def largest_in_two_stages(pre_NF: Float[Tensor, "N F"], k: int, *, absolute: bool = False) -> Largest:
    """The k largest entries of each row (of largest size with `absolute`), as they are; NaN counts as largest.

    Exact: the k largest lie in groups of columns whose maxima are among the k largest maxima.
    """
    n, n_features = pre_NF.shape
    ranked_NF = pre_NF.abs() if absolute else pre_NF
    per_group = next((size for size in PER_GROUP if n_features % size == 0 and n_features // size >= 2 * k), 1)
    if per_group == 1:
        indices_NK = ranked_NF.topk(k, dim=1, sorted=False).indices
        return Largest(pre_NF.gather(1, indices_NK), indices_NK)
    n_groups = n_features // per_group
    grouped_NSG = ranked_NF.view(n, per_group, n_groups)  # column s·G + g belongs to group g
    groups_NK = grouped_NSG.amax(1).topk(k, dim=1, sorted=False).indices
    among_NM = grouped_NSG.gather(2, groups_NK[:, None].expand(-1, per_group, -1)).flatten(1)
    slots_NK = among_NM.topk(k, dim=1, sorted=False).indices
    indices_NK = slots_NK // k * n_groups + groups_NK.gather(1, slots_NK % k)
    return Largest(pre_NF.gather(1, indices_NK), indices_NK)


def sum_by_feature(
    values_NK: Float[Tensor, "N K"], indices_NK: Int[Tensor, "N K"], x_ND: Float[Tensor, "N D"], n_features: int
) -> Float[Tensor, "F D"]:
    """For each feature the sum over its tokens of value · x, in order of the token; zeros where it has none."""
    features_M, order_M = indices_NK.flatten().sort(stable=True)
    starts_F = torch.searchsorted(features_M, torch.arange(n_features, device=features_M.device))
    tokens_M = order_M // indices_NK.shape[1]
    weights_M = values_NK.flatten()[order_M]
    return embedding_bag(tokens_M, x_ND, starts_F, per_sample_weights=weights_M, mode="sum")


def compare(
    x_ND: Float[Tensor, "N D"], rows_FD: Float[Tensor, "F D"], indices_NK: Int[Tensor, "N K"]
) -> Float[Tensor, "N K"]:
    """Inner products of tokens with the rows that they name."""
    n_tokens = max(1, CHUNK_BYTES // max(1, indices_NK.shape[1] * rows_FD.shape[1] * rows_FD.element_size()))
    parts = [
        torch.bmm(rows_FD[indices], x[:, :, None])[:, :, 0]
        for x, indices in zip(x_ND.split(n_tokens), indices_NK.split(n_tokens), strict=True)
    ]
    return torch.cat(parts)
