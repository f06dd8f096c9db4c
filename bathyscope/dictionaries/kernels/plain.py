"""The sparse step in plain PyTorch, for devices and element types that no compiled kernel takes.

Dense only in the encoder's product, a chunk of tokens at a time; everything else is made of (value, feature) pairs:
sums of rows are `embedding_bag`s, over a token's features or over a feature's tokens. `rows.py` and `encode.py` say
what each function is to give.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from bathyscope.dictionaries.kernels.select import Pairs

CHUNK_BYTES = 64 << 20
"""Size of the buffers of pre-activations and of gathered rows."""
PER_GROUP = (8, 4, 2)
"""Columns of a group in the first stage of the selection, by which F must be divisible."""


def largest(
    centred_ND: Float[Tensor, "N D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    k: int,
    *,
    absolute: bool,
) -> Pairs:
    """`ReLU` of the k largest of `centred @ W_encᵀ + b_enc` (as they are with `absolute`), in PyTorch's order."""
    n_rows = max(1, CHUNK_BYTES // (len(W_enc_FD) * centred_ND.element_size()))
    parts = [
        largest_in_two_stages(torch.addmm(b_enc_F, chunk_ND, W_enc_FD.T), k, absolute=absolute)
        for chunk_ND in centred_ND.split(n_rows)
    ]
    values_NK, indices_NK = (torch.cat(column) for column in zip(*parts, strict=True))
    return Pairs(values_NK if absolute else values_NK.relu(), indices_NK)


def largest_in_two_stages(pre_NF: Float[Tensor, "N F"], k: int, *, absolute: bool = False) -> Pairs:
    """The k largest entries of each row (of largest size with `absolute`), as they are; NaN counts as largest.

    Exact: the k largest lie in groups of columns whose maxima are among the k largest maxima.
    """
    n, n_features = pre_NF.shape
    ranked_NF = pre_NF.abs() if absolute else pre_NF
    per_group = next((size for size in PER_GROUP if n_features % size == 0 and n_features // size >= 2 * k), 1)
    if per_group == 1:
        indices_NK = ranked_NF.topk(k, dim=1, sorted=False).indices
        return Pairs(pre_NF.gather(1, indices_NK), indices_NK)
    n_groups = n_features // per_group
    grouped_NSG = ranked_NF.view(n, per_group, n_groups)  # column s·G + g belongs to group g
    groups_NK = grouped_NSG.amax(1).topk(k, dim=1, sorted=False).indices
    among_NM = grouped_NSG.gather(2, groups_NK[:, None].expand(-1, per_group, -1)).flatten(1)
    slots_NK = among_NM.topk(k, dim=1, sorted=False).indices
    indices_NK = slots_NK // k * n_groups + groups_NK.gather(1, slots_NK % k)
    return Pairs(pre_NF.gather(1, indices_NK), indices_NK)


def mix_rows(
    values_NK: Float[Tensor, "N K"], indices_NK: Int[Tensor, "N K"], rows_FD: Float[Tensor, "F D"], out_ND: Tensor
) -> None:
    """Add each token's mixture of rows to `out_ND`."""
    out_ND += embedding_bag(indices_NK, rows_FD, per_sample_weights=values_NK, mode="sum")


def residual_rows(
    x_ND: Float[Tensor, "N D"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    rows_FD: Float[Tensor, "F D"],
    bias_D: Float[Tensor, " D"],
) -> tuple[Float[Tensor, "N D"], Float[Tensor, ""]]:
    """What mixture and bias leave of each token, and the sum of its squares (float64)."""
    residual_ND = x_ND - bias_D - embedding_bag(indices_NK, rows_FD, per_sample_weights=values_NK, mode="sum")
    return residual_ND, residual_ND.square().sum(dtype=torch.float64)


def compare_rows(
    x_ND: Float[Tensor, "N D"],
    rows_FD: Float[Tensor, "F D"],
    indices_NK: Int[Tensor, "N K"],
    *,
    factor: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, "N K"]:
    """Inner products of tokens with the rows that they name, times the factor.

    On a CPU they are taken as the gradient of a mixture's weights, which gathers no rows and is several times as fast.
    """
    can_differentiate = not any(tensor.is_inference() for tensor in (x_ND, rows_FD, indices_NK))
    if x_ND.device.type == "cpu" and indices_NK.numel() > 0 and can_differentiate:
        return factor * _slopes_of_weights(x_ND.detach(), rows_FD.detach(), indices_NK)
    n_tokens = max(1, CHUNK_BYTES // max(1, indices_NK.shape[1] * rows_FD.shape[1] * rows_FD.element_size()))
    parts = [
        torch.bmm(rows_FD[indices], x[:, :, None])[:, :, 0]
        for x, indices in zip(x_ND.split(n_tokens), indices_NK.split(n_tokens), strict=True)
    ]
    return factor * torch.cat(parts)


def _slopes_of_weights(x_ND: Tensor, rows_FD: Tensor, indices_NK: Tensor) -> Tensor:
    """`d/dw Σ_n x_n · Σ_j w_nj rows[indices_nj]`, by PyTorch's own kernel."""
    with torch.inference_mode(False), torch.enable_grad():
        weights_NK = x_ND.new_zeros(indices_NK.shape, requires_grad=True)
        mixed_ND = embedding_bag(indices_NK, rows_FD, per_sample_weights=weights_NK, mode="sum")
    (slopes_NK,) = torch.autograd.grad(mixed_ND, weights_NK, x_ND)
    return slopes_NK


def gather_tokens(
    offsets: Int[Tensor, " _"],
    pairs_M: Int[Tensor, " M"],
    values_NK: Float[Tensor, "N K"],
    x_ND: Float[Tensor, "N D"],
    *,
    factor: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, "F D"]:
    """For each feature the sum over its tokens of factor · value · x, tokens in order; zeros where it has none."""
    real_M = pairs_M[: int(offsets[-1])]
    weights_M = values_NK.flatten()[real_M]
    summed_FD = embedding_bag(
        real_M // values_NK.shape[1], x_ND, offsets[:-1], per_sample_weights=weights_M, mode="sum"
    )
    return factor * summed_FD
