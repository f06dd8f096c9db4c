"""Pre-activations above a bound, and the largest of a batch, from tiles of the encoder's product.

Programs find free slots of a token by counting in memory, so pairs come in any order; they are sorted by feature
afterwards, and no outcome depends on it. The shape of the outcome does depend on the data: each call waits for the
device once, and again where its first guess of the shape was too small.
"""

import math
from itertools import pairwise
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.kernels.above import Kept
from bathyscope.dictionaries.kernels.gpu.encode import WORKSPACE_BYTES
from bathyscope.dictionaries.kernels.gpu.launch import launch
from bathyscope.dictionaries.kernels.gpu.product import Encoder, all_of_tiles, products

SAMPLE = 1 << 22
"""Most pre-activations from which the bound of a batch selection is guessed."""
NONE = 2**31 - 1
"""Feature of a free slot."""


def above(
    centred_ND: Float[Tensor, "N D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    *,
    bound_F: Float[Tensor, " F"],
) -> Kept:
    """Every pre-activation strictly above its feature's bound, features rising; the first NaN of a token counts too."""
    kept = _above(Encoder(centred_ND.contiguous(), W_enc_FD.contiguous(), b_enc_F.contiguous()), bound_F)
    return kept._replace(values_NK=kept.values_NK.to(centred_ND.dtype))


def largest_of_batch(
    centred_ND: Float[Tensor, "N D"], W_enc_FD: Float[Tensor, "F D"], b_enc_F: Float[Tensor, " F"], *, n_keep: int
) -> Kept:
    """The `n_keep` largest positive pre-activations of all; the lowest token, then feature, wins among equals.

    A bound is guessed from a sample, low enough to leave more than are wanted; when it does not, a lower one is.
    """
    encoder = Encoder(centred_ND.contiguous(), W_enc_FD.contiguous(), b_enc_F.contiguous())
    sample_M = _sample(encoder)
    expected = n_keep / max(1, len(centred_ND) * len(W_enc_FD)) * len(sample_M)
    rank = int(1.25 * expected + 4 * math.sqrt(expected) + 4)
    while True:
        bound = max(0.0, float(sample_M.topk(rank).values[-1])) if rank < len(sample_M) else 0.0
        kept = _above(encoder, b_enc_F.new_full((len(W_enc_FD),), bound, dtype=torch.float32))
        n_found = int(kept.n_kept_N.sum())
        if n_found >= n_keep or bound == 0:
            break
        rank *= 4
    if n_found > n_keep:
        kept = _cut(kept, n_keep)
    return kept._replace(values_NK=kept.values_NK.to(centred_ND.dtype))


def _sample(encoder: Encoder) -> Float[Tensor, " M"]:
    """Pre-activations of evenly spaced tokens at evenly spaced features; NaN lowest."""
    step = max(1, math.isqrt(len(encoder.centred_ND) * len(encoder.W_enc_FD) // SAMPLE))
    part = Encoder(*(operand[::step].contiguous() for operand in encoder))
    return all_of_tiles(part).flatten().nan_to_num(nan=-math.inf)


def _cut(kept: Kept, n_keep: int) -> Kept:
    """The `n_keep` largest, the first ones among equal entries; NaN counts as largest."""
    values_NK, indices_NK, n_kept_N = kept
    is_real_NK = torch.arange(values_NK.shape[1], device=values_NK.device) < n_kept_N[:, None]
    size_M = torch.where(values_NK.isnan(), math.inf, torch.where(is_real_NK, values_NK, -math.inf)).flatten()
    least = size_M.topk(n_keep, sorted=False).values.amin()
    is_above_M, is_equal_M = size_M > least, size_M == least
    is_first_M = is_equal_M.cumsum(0) <= n_keep - is_above_M.sum()
    is_kept_NK = (is_above_M | (is_equal_M & is_first_M)).view_as(values_NK)
    return _packed(values_NK, torch.where(is_kept_NK, indices_NK, NONE), is_kept_NK.sum(1))


def _packed(values_NK: Tensor, features_NK: Tensor, n_kept_N: Tensor) -> Kept:
    """Pairs in order of the feature; what has no feature becomes padding."""
    width = max(1, int(n_kept_N.max())) if len(n_kept_N) else 1
    features_NK, order_NK = features_NK.sort(1)
    features_NK, values_NK = features_NK[:, :width], values_NK.gather(1, order_NK[:, :width])
    is_real_NK = features_NK != NONE
    return Kept(torch.where(is_real_NK, values_NK, 0), torch.where(is_real_NK, features_NK, 0).long(), n_kept_N)


def _above(encoder: Encoder, bound_F: Tensor) -> Kept:
    """The pairs in float32, a few tokens at a time."""
    n, n_features = len(encoder.centred_ND), len(encoder.W_enc_FD)
    width = min(n_features, max(64, n_features // 64))
    n_rows = max(1, WORKSPACE_BYTES // (8 * width))
    parts = [
        _above_rows(encoder._replace(centred_ND=encoder.centred_ND[start:stop]), bound_F.contiguous(), width)
        for start, stop in pairwise([*range(0, max(n, 1), n_rows), n])
    ]
    width = max(part.values_NK.shape[1] for part in parts)
    pad = [(0, width - part.values_NK.shape[1]) for part in parts]
    values = [torch.nn.functional.pad(part.values_NK, by) for part, by in zip(parts, pad, strict=True)]
    indices = [torch.nn.functional.pad(part.indices_NK, by) for part, by in zip(parts, pad, strict=True)]
    return Kept(torch.cat(values), torch.cat(indices), torch.cat([part.n_kept_N for part in parts]))


def _above_rows(encoder: Encoder, bound_F: Tensor, width: int) -> Kept:
    """The pairs of some tokens; those with more than `width` are counted, and all is done again with room for them."""
    n = len(encoder.centred_ND)
    new = encoder.centred_ND.new_full
    values_NK, features_NK = new((n, width), 0, dtype=torch.float32), new((n, width), NONE, dtype=torch.int32)
    n_above_N = new((n,), 0, dtype=torch.int32)
    arguments: tuple[Any, ...] = (
        *encoder,
        bound_F,
        values_NK,
        features_NK,
        n_above_N,
        n,
        *encoder.W_enc_FD.shape,
        width,
    )
    launch(_write_above, encoder.grid, *arguments, **encoder.constants())
    most = int(n_above_N.max()) if n else 0
    if most > width:
        return _above_rows(encoder, bound_F, most)
    values_NK, features_NK = values_NK[:, : max(1, most)], features_NK[:, : max(1, most)]
    is_nan_NK = values_NK.isnan()
    first_N1 = torch.where(is_nan_NK, features_NK, NONE).amin(1, keepdim=True)
    features_NK = torch.where(is_nan_NK & (features_NK != first_N1), NONE, features_NK)
    return _packed(values_NK, features_NK, (features_NK != NONE).sum(1))


@triton.jit
@no_type_check
def _write_above(
    x,
    w,
    bias,
    bound,
    values,
    features,
    n_above,
    n,
    n_features,
    n_d,
    width,
    PRECISION: tl.constexpr,
    IS_WHOLE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEPS: tl.constexpr,
):
    n_blocks = tl.cdiv(n, ROWS)
    row = (tl.program_id(0) % n_blocks) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) // n_blocks * COLUMNS + tl.arange(0, COLUMNS)
    pre = products(x, w, bias, row, column, n, n_features, n_d, PRECISION, IS_WHOLE, ROWS, COLUMNS, STEPS)
    least = tl.load(bound + column, mask=column < n_features, other=0.0).to(tl.float32)
    is_there = (row < n)[:, None] & (column < n_features)[None, :]
    is_nan = is_there & (pre != pre)  # noqa: PLR0124
    first_nan = tl.min(tl.where(is_nan, column[None, :], 2147483647), axis=1)
    is_kept = is_there & ((pre > least[None, :]) | (column[None, :] == first_nan[:, None]))
    n_kept = tl.sum(is_kept.to(tl.int32), axis=1)
    begin = tl.atomic_add(n_above + row, n_kept, mask=(row < n) & (n_kept > 0))
    slot = begin[:, None] + tl.cumsum(is_kept.to(tl.int32), axis=1) - 1
    to = row.to(tl.int64)[:, None] * width + slot
    tl.store(values + to, pre, mask=is_kept & (slot < width))
    tl.store(features + to, column[None, :] + tl.zeros_like(slot), mask=is_kept & (slot < width))
