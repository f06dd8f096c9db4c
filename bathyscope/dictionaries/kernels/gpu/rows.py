"""Sums of rows by sparse weights on a GPU: what `kernels/rows.py` does on a CPU, with float32 sums in a fixed order.

A program makes a part of one row of the outcome and visits its pairs in order: nothing is added by several programs at
once, so equal runs give equal bytes.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.kernels.gpu.launch import launch

WIDTH = 256
"""Most columns that a program makes."""
PAIRS = 16
"""Pairs that a program reads at once."""


def mix_rows(
    values_NK: Float[Tensor, "N K"], indices_NK: Int[Tensor, "N K"], rows_FD: Float[Tensor, "F D"], out_ND: Tensor
) -> None:
    """Add to `out_ND[n]` the sum over j of `values_NK[n, j] · rows_FD[indices_NK[n, j]]`."""
    _mix(out_ND, None, (values_NK, indices_NK, rows_FD), out_ND, sign=1)


def residual_rows(
    x_ND: Float[Tensor, "N D"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    rows_FD: Float[Tensor, "F D"],
    bias_D: Float[Tensor, " D"],
) -> tuple[Float[Tensor, "N D"], Float[Tensor, ""]]:
    """What the mixture of rows and the bias leave of each token, and the sum of its squares (float64)."""
    residual_ND = torch.empty_like(x_ND, memory_format=torch.contiguous_format)
    squares_NB = _mix(x_ND.contiguous(), bias_D.contiguous(), (values_NK, indices_NK, rows_FD), residual_ND, sign=-1)
    return residual_ND, squares_NB.sum(dtype=torch.float64)


def compare_rows(
    x_ND: Float[Tensor, "N D"],
    rows_FD: Float[Tensor, "F D"],
    indices_NK: Int[Tensor, "N K"],
    *,
    factor: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, "N K"]:
    """Inner products of tokens with the rows they name: `out[n, j] = factor · x_ND[n] · rows_FD[indices_NK[n, j]]`."""
    (n, k), n_d = indices_NK.shape, x_ND.shape[1]
    out_NK = x_ND.new_empty(n, k)
    tensors = (x_ND.contiguous(), rows_FD.contiguous(), indices_NK.contiguous(), _on_device(factor, x_ND), out_NK)
    constants = {"PAIRS": PAIRS, "WIDTH": min(WIDTH, triton.next_power_of_2(n_d))}
    launch(_compare_rows, (n, triton.cdiv(k, PAIRS)), *tensors, k, n_d, **constants)
    return out_NK


def gather_tokens(
    offsets: Int[Tensor, " _"],
    pairs_M: Int[Tensor, " M"],
    values_NK: Float[Tensor, "N K"],
    x_ND: Float[Tensor, "N D"],
    *,
    factor: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, "F D"]:
    """For each feature the sum over its tokens: `out[f] = factor · Σ_(n, j) values_NK[n, j] · x_ND[n]`; else zeros."""
    n_features, n_d = len(offsets) - 1, x_ND.shape[1]
    out_FD = x_ND.new_empty(n_features, n_d)
    tensors = (offsets, pairs_M, values_NK.contiguous(), x_ND.contiguous(), _on_device(factor, x_ND), out_FD)
    width = min(WIDTH, triton.next_power_of_2(n_d))
    constants = {"PAIRS": PAIRS, "WIDTH": width}
    launch(_gather_tokens, (n_features, triton.cdiv(n_d, width)), *tensors, values_NK.shape[1], n_d, **constants)
    return out_FD


def _on_device(factor: Tensor | float, like: Tensor) -> Tensor:
    """A float32 that kernels read, so that a factor known to the device alone is not waited for."""
    return factor.float() if isinstance(factor, Tensor) else like.new_full((), factor, dtype=torch.float32)


def _mix(
    start_ND: Tensor, bias_D: Tensor | None, mixture: tuple[Tensor, Tensor, Tensor], out_ND: Tensor, *, sign: int
) -> Tensor:
    """`out = start - bias + sign · mixture`; sums of squares by token and part of the width."""
    (n, k), n_d = mixture[0].shape, out_ND.shape[1]
    width = min(WIDTH, triton.next_power_of_2(n_d))
    n_parts = triton.cdiv(n_d, width)
    squares_NB = start_ND.new_empty(n, n_parts, dtype=torch.float32)
    tensors = (start_ND, start_ND if bias_D is None else bias_D, *(t.contiguous() for t in mixture), out_ND, squares_NB)
    constants = {"HAS_BIAS": bias_D is not None, "SIGN": sign, "PAIRS": PAIRS, "WIDTH": width}
    launch(_mix_rows, (n, n_parts), *tensors, k, n_d, n_parts, **constants)
    return squares_NB


@triton.jit
@no_type_check
def _mix_rows(
    start,
    bias,
    values,
    indices,
    rows,
    out,
    squares,
    k,
    n_d,
    n_parts,
    HAS_BIAS: tl.constexpr,
    SIGN: tl.constexpr,
    PAIRS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    token, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = part * WIDTH + tl.arange(0, WIDTH)
    total = tl.zeros((WIDTH,), tl.float32)
    for first in range(0, k, PAIRS):
        j = first + tl.arange(0, PAIRS)
        value = tl.load(values + token * k + j, mask=j < k, other=0.0).to(tl.float32)
        feature = tl.load(indices + token * k + j, mask=j < k, other=0).to(tl.int64)
        is_read = (value != 0)[:, None] & (d < n_d)[None, :]
        row = tl.load(rows + feature[:, None] * n_d + d[None, :], mask=is_read, other=0.0).to(tl.float32)
        total += tl.sum(value[:, None] * row, axis=0)
    begin = tl.load(start + token * n_d + d, mask=d < n_d, other=0.0).to(tl.float32)
    if HAS_BIAS:
        begin -= tl.load(bias + d, mask=d < n_d, other=0.0).to(tl.float32)
    total = tl.where(d < n_d, begin + SIGN * total, 0.0)
    tl.store(out + token * n_d + d, total, mask=d < n_d)
    tl.store(squares + token * n_parts + part, tl.sum(total * total, axis=0))


@triton.jit
@no_type_check
def _compare_rows(x, rows, indices, factor, out, k, n_d, PAIRS: tl.constexpr, WIDTH: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * PAIRS + tl.arange(0, PAIRS)
    feature = tl.load(indices + token * k + j, mask=j < k, other=0).to(tl.int64)
    total = tl.zeros((PAIRS, WIDTH), tl.float32)
    for first in range(0, n_d, WIDTH):
        d = (first + tl.arange(0, WIDTH))[None, :]
        value = tl.load(x + token * n_d + d, mask=d < n_d, other=0.0).to(tl.float32)
        row = tl.load(rows + feature[:, None] * n_d + d, mask=(j < k)[:, None] & (d < n_d), other=0.0)
        total += value * row.to(tl.float32)
    tl.store(out + token * k + j, tl.load(factor) * tl.sum(total, axis=1), mask=j < k)


@triton.jit
@no_type_check
def _gather_tokens(offsets, pairs, values, x, factor, out, k, n_d, PAIRS: tl.constexpr, WIDTH: tl.constexpr):
    feature = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    first, stop = tl.load(offsets + feature), tl.load(offsets + feature + 1)
    total = tl.zeros((WIDTH,), tl.float32)
    while first < stop:
        at = first + tl.arange(0, PAIRS)
        pair = tl.load(pairs + at, mask=at < stop, other=0)
        value = tl.load(values + pair, mask=at < stop, other=0.0).to(tl.float32)
        is_read = (at < stop)[:, None] & (d < n_d)[None, :]
        token = tl.load(x + (pair // k)[:, None] * n_d + d[None, :], mask=is_read, other=0.0).to(tl.float32)
        total += tl.sum(value[:, None] * token, axis=0)
        first += PAIRS
    tl.store(out + feature * n_d + d, tl.load(factor) * total, mask=d < n_d)
