"""Reconstruction errors of nested prefixes of the features, from one set of (values, features) pairs.

`squared[g] = Σ_n ‖x_n - b_dec - Σ_{f < m_g} c_nf · d_f‖²` for prefix sizes m_1 < … < m_G. One prefix of all features is
the ordinary error. Memory: G residuals, [G, N, D], twice in the backward pass; nothing of size [N, F].
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.decode import decode_pairs_reference
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.error import reconstruction_error
from bathyscope.dictionaries.kernels.rows import ByFeature, SortedPairs, by_feature, gather_tokens
from bathyscope.dictionaries.kernels.threads import share_rows


class NestedError(NamedTuple):
    """A batch's reconstruction error, one for each prefix."""

    squared_G: Float[Tensor, " G"]
    """Σ_n ‖x_n - x̂_n‖² with the features of each prefix alone, differentiable."""
    residual_ND: Float[Tensor, "N D"]
    """x - x̂ of the last prefix, without gradient."""


def nested_error(
    x_ND: Float[Tensor, "N D"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
    sizes: Sequence[int],
) -> NestedError:
    """Errors of the prefixes of `sizes` features (rising; 0 is the bias alone), compiled or in Triton where these run.

    Pairs of value 0 are padding: they get no gradient.
    """
    if tuple(sizes) == (len(W_dec_FD),):
        error = reconstruction_error(x_ND, torch.where(values_NK != 0, values_NK, 0), indices_NK, W_dec_FD, b_dec_D)
        return NestedError(error.squared[None], error.residual_ND)
    if engine(x_ND) != "plain":
        return NestedError(*_NestedError.apply(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D, tuple(sizes)))
    return nested_error_reference(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D, sizes)


def nested_error_reference(
    x_ND: Float[Tensor, "N D"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    W_dec_FD: Float[Tensor, "F D"],
    b_dec_D: Float[Tensor, " D"],
    sizes: Sequence[int],
) -> NestedError:
    """The definition, differentiated by autograd."""
    real_NK = torch.where(values_NK != 0, values_NK, 0)
    residuals = [
        x_ND - decode_pairs_reference(torch.where(indices_NK < size, real_NK, 0), indices_NK, W_dec_FD, b_dec_D)
        for size in sizes
    ]
    return NestedError(torch.stack([r.square().sum() for r in residuals]), residuals[-1].detach())


class _NestedError(torch.autograd.Function):
    """A feature of group h is in every prefix from h on: its gradients read `s_h = Σ_{g ≥ h} u_g r_g`, u from above."""

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        values_NK: Tensor,
        indices_NK: Tensor,
        W_dec_FD: Tensor,
        b_dec_D: Tensor,
        sizes: tuple[int, ...],
    ) -> tuple[Tensor, Tensor]:
        residuals_GND, squared_G = _residuals_of(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D, sizes)
        ctx.save_for_backward(residuals_GND, values_NK, indices_NK, W_dec_FD)
        ctx.sizes = sizes
        residual_ND = residuals_GND[-1].clone()
        ctx.mark_non_differentiable(residual_ND)
        ctx.set_materialize_grads(False)
        return squared_G.to(x_ND.dtype), residual_ND

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        residuals_GND, values_NK, indices_NK, W_dec_FD = ctx.saved_tensors
        gradient_G, sizes = gradients[0], ctx.sizes
        assert gradient_G is not None
        tails_GND, grad_values_NK = _slopes_of(residuals_GND, gradient_G, values_NK, indices_NK, W_dec_FD, sizes)
        pairs = by_feature(values_NK, indices_NK, len(W_dec_FD))
        rows = [W_dec_FD.new_zeros(len(W_dec_FD) - sizes[-1], W_dec_FD.shape[1])]
        for group in reversed(range(len(sizes))):
            part = _of_features(pairs, sizes[group - 1] if group else 0, sizes[group])
            rows.insert(0, gather_tokens(part, values_NK, tails_GND[group], factor=-2.0))
        grad_x_ND = 2 * tails_GND[0] if ctx.needs_input_grad[0] else None
        return grad_x_ND, grad_values_NK, None, torch.cat(rows), -2 * tails_GND[0].sum(0), None


def _residuals_of(
    x_ND: Tensor, values_NK: Tensor, indices_NK: Tensor, W_dec_FD: Tensor, b_dec_D: Tensor, sizes: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """What each prefix leaves of each token, and the sums of squares (float64)."""
    if engine(x_ND) == "triton":
        from bathyscope.dictionaries.kernels.gpu import nested

        return nested.residuals(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D, sizes)
    residuals_GND = x_ND.new_empty(len(sizes), *x_ND.shape)
    squares_NG = torch.empty(len(x_ND), len(sizes), dtype=torch.float64)
    arrays = [t.detach().contiguous().numpy() for t in (x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D)]
    share_rows(_residuals, len(x_ND), *arrays, np.array(sizes), residuals_GND.numpy(), squares_NG.numpy())
    return residuals_GND, squares_NG.sum(0)


def _slopes_of(
    residuals_GND: Tensor,
    gradient_G: Tensor,
    values_NK: Tensor,
    indices_NK: Tensor,
    W_dec_FD: Tensor,
    sizes: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """`s_h` of each group, and the gradients of the values."""
    if engine(residuals_GND) == "triton":
        from bathyscope.dictionaries.kernels.gpu import nested

        return nested.slopes(residuals_GND, gradient_G, values_NK, indices_NK, W_dec_FD, sizes)
    tails_GND, grad_values_NK = torch.empty_like(residuals_GND), torch.zeros_like(values_NK)
    arrays = [t.detach().contiguous().numpy() for t in (residuals_GND, gradient_G, values_NK, indices_NK, W_dec_FD)]
    out = (tails_GND.numpy(), grad_values_NK.numpy())
    share_rows(_slopes, len(values_NK), *arrays, np.array(sizes), *out)
    return tails_GND, grad_values_NK


def _of_features(pairs: ByFeature | SortedPairs, start: int, stop: int) -> ByFeature | SortedPairs:
    """The pairs of features start … stop - 1, which become 0, 1, …"""
    if isinstance(pairs, SortedPairs):
        return SortedPairs(pairs.offsets[start : stop + 1], pairs.pairs, pairs.k)
    offsets = pairs.offsets[start : stop + 1]
    return ByFeature(offsets - offsets[0], pairs.pairs[offsets[0] : offsets[-1]], pairs.k)


@compiled(reorder=True)
@no_type_check
def _residuals(
    x: NDArray[Any],
    values: NDArray[Any],
    indices: NDArray[Any],
    rows: NDArray[Any],
    bias: NDArray[Any],
    sizes: NDArray[Any],
    residuals: NDArray[Any],
    squares: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    n_d = rows.shape[1]
    for n in range(start, stop):
        low = 0
        for g in range(len(sizes)):
            to = residuals[g, n]
            for d in range(n_d):
                to[d] = residuals[g - 1, n, d] if g else x[n, d] - bias[d]
            for j in range(values.shape[1]):
                value, f = values[n, j], indices[n, j]
                if value != 0 and low <= f < sizes[g]:
                    row = rows[f]
                    for d in range(n_d):
                        to[d] -= value * row[d]
            total = x.dtype.type(0)
            for d in range(n_d):
                total += to[d] * to[d]
            squares[n, g] = total
            low = sizes[g]


@compiled(reorder=True)
@no_type_check
def _slopes(
    residuals: NDArray[Any],
    slopes: NDArray[Any],
    values: NDArray[Any],
    indices: NDArray[Any],
    rows: NDArray[Any],
    sizes: NDArray[Any],
    tails: NDArray[Any],
    out: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    n_d, n_groups = rows.shape[1], len(sizes)
    for n in range(start, stop):
        for back in range(n_groups):
            g = n_groups - 1 - back
            tail = tails[g, n]
            for d in range(n_d):
                tail[d] = slopes[g] * residuals[g, n, d]
            if back:
                for d in range(n_d):
                    tail[d] += tails[g + 1, n, d]
            low = sizes[g - 1] if g else 0
            for j in range(values.shape[1]):
                f = indices[n, j]
                if values[n, j] != 0 and low <= f < sizes[g]:
                    row = rows[f]
                    total = rows.dtype.type(0)
                    for d in range(n_d):
                        total += tail[d] * row[d]
                    out[n, j] = -2 * total
