"""Residuals and gradients of nested prefixes on a GPU, group of features by group: see `kernels/nested.py`."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.dictionaries.kernels.gpu.rows import compare_rows, residual_rows


def residuals(
    x_ND: Float[Tensor, "N D"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
    sizes: Sequence[int],
) -> tuple[Float[Tensor, "G N D"], Float[Tensor, " G"]]:
    """What each prefix leaves of each token, and the sums of squares (float64)."""
    left_ND, found = x_ND, list[tuple[Tensor, Tensor]]()
    for is_in_NK in _groups(indices_NK, sizes):
        bias_D = torch.zeros_like(b_dec_D) if found else b_dec_D
        found.append(residual_rows(left_ND, torch.where(is_in_NK, values_NK, 0), indices_NK, W_dec_FD, bias_D))
        left_ND = found[-1][0]
    return torch.stack([left for left, _ in found]), torch.stack([square for _, square in found])


def slopes(
    residuals_GND: Float[Tensor, "G N D"],
    gradient_G: Float[Tensor, " G"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    sizes: Sequence[int],
) -> tuple[Float[Tensor, "G N D"], Float[Tensor, "N K"]]:
    """`s_h = Σ_{g ≥ h} u_g r_g`, and the gradients of the values, 0 for padding."""
    weighted_GND = gradient_G[:, None, None] * residuals_GND
    tails_GND = weighted_GND.flip(0).cumsum(0).flip(0) if len(sizes) > 1 else weighted_GND
    grad_values_NK = torch.zeros_like(values_NK)
    for tail_ND, in_group_NK in zip(tails_GND, _groups(indices_NK, sizes), strict=True):
        is_in_NK = in_group_NK & (values_NK != 0)
        slope_NK = compare_rows(tail_ND, W_dec_FD, torch.where(is_in_NK, indices_NK, 0), factor=-2.0)
        grad_values_NK = torch.where(is_in_NK, slope_NK, grad_values_NK)
    return tails_GND, grad_values_NK


def _groups(indices_NK: Tensor, sizes: Sequence[int]) -> Iterator[Bool[Tensor, "N K"]]:
    """Which pairs each prefix has and the one before has not."""
    for low, high in pairwise((0, *sizes)):
        yield (indices_NK >= low) & (indices_NK < high)
