"""Encode with however many features lie above a bound, or are among the largest of a whole batch.

`pre = (x - b_pre) @ W_encᵀ + b_enc`; kept entries come as (value, feature) pairs in rising order of the feature, padded
with value 0 at feature 0 to the widest row (at least one slot). Gradients flow through kept entries alone.
Memory: the pairs, N·K·12 bytes in float32 with K the most features of any token, and one reused [rows, F] buffer.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.encode import CHUNK_BYTES
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.rows import by_feature, gather_tokens, mix_rows
from bathyscope.dictionaries.kernels.select import Pairs
from bathyscope.dictionaries.kernels.threads import share_rows

SAMPLE = 1 << 16
"""Pre-activations from which the bound of a batch selection is guessed."""


class Kept(NamedTuple):
    """Pairs of each token, with how many of its slots are real."""

    values_NK: Float[Tensor, "N K"]
    indices_NK: Int[Tensor, "N K"]
    n_kept_N: Int[Tensor, " N"]
    """Slots 0 … n_kept - 1 of a token are real, the others padding. A real value may be 0."""


class _Flat(NamedTuple):
    """Kept entries in order of the token, then of the feature."""

    values: NDArray[Any]
    features: NDArray[np.int64]
    rows: NDArray[np.int64]


def encode_above(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    bound_F: Float[Tensor, " F"] | float,
) -> Pairs:
    """Every pre-activation strictly above its feature's bound, as it is (no ReLU); the bound gets no gradient.

    Compiled or in Triton where these run. Where pre-activations are NaN, one of each token is kept: it shows.
    """
    kept = encode_above_counted(x_ND, b_pre_D, W_enc_FD, b_enc_F, bound_F)
    return Pairs(kept.values_NK, kept.indices_NK)


def encode_above_counted(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    bound_F: Float[Tensor, " F"] | float,
) -> Kept:
    """The same with the number of real pairs: with a negative bound, padding (0 at feature 0) looks like a pair."""
    bound_F = torch.as_tensor(bound_F, dtype=x_ND.dtype, device=x_ND.device).detach().expand(len(W_enc_FD))
    if engine(x_ND) != "plain":
        return Kept(*_EncodeKept.apply(x_ND, b_pre_D, W_enc_FD, b_enc_F, partial(_all_above, bound_F=bound_F)))
    return encode_above_reference(x_ND, b_pre_D, W_enc_FD, b_enc_F, bound_F)


def encode_above_reference(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    bound_F: Float[Tensor, " F"],
) -> Kept:
    """The definition, differentiated by autograd. Holds [N, F]."""
    pre_NF = (x_ND - b_pre_D) @ W_enc_FD.T + b_enc_F
    nan_NF = pre_NF.isnan()
    kept_NF = (pre_NF > bound_F) | (nan_NF & (nan_NF.cumsum(1) == 1))
    return _padded_reference(pre_NF, kept_NF.flatten().nonzero()[:, 0])


def select_batch(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    n_keep: int,
) -> Pairs:
    """The `n_keep` largest of `ReLU(pre)` over all tokens and features; zeros are never kept, so there may be fewer.

    Exact. Among equal entries the lowest token wins, then the lowest feature; in plain PyTorch, whichever it takes.
    """
    if engine(x_ND) != "plain":
        choose = partial(_all_largest, n_keep=n_keep)
        return Pairs(*_EncodeKept.apply(x_ND, b_pre_D, W_enc_FD, b_enc_F, choose)[:2])
    return select_batch_reference(x_ND, b_pre_D, W_enc_FD, b_enc_F, n_keep)


def select_batch_reference(
    x_ND: Float[Tensor, "N D"],
    b_pre_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    n_keep: int,
) -> Pairs:
    """The definition: `flatten().topk`, differentiated by autograd. Holds [N, F]; NaN counts as largest."""
    codes_NF = ((x_ND - b_pre_D) @ W_enc_FD.T + b_enc_F).relu()
    top = codes_NF.detach().flatten().topk(min(n_keep, codes_NF.numel()), sorted=False)
    kept = _padded_reference(codes_NF, top.indices[~(top.values <= 0)].sort().values)
    return Pairs(kept.values_NK, kept.indices_NK)


def _padded_reference(from_NF: Tensor, positions_M: Tensor) -> Kept:
    """The entries at flat positions (rising) as padded pairs."""
    n, n_features = from_NF.shape
    rows_M, features_M = positions_M // n_features, positions_M % n_features
    n_kept_N = torch.bincount(rows_M, minlength=n)
    width = max(1, int(n_kept_N.max())) if n else 1
    slots_M = torch.arange(len(rows_M), device=from_NF.device) - (n_kept_N.cumsum(0) - n_kept_N)[rows_M]
    at = (rows_M, slots_M)
    values_NK = from_NF.new_zeros(n, width).index_put(at, from_NF.flatten()[positions_M])
    return Kept(values_NK, features_M.new_zeros(n, width).index_put(at, features_M), n_kept_N)


class _EncodeKept(torch.autograd.Function):
    """Forward without holding [N, F]; backward through real pairs alone, the gradient to x only when asked for."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, b_pre_D: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, choose: Callable[..., Kept]
    ) -> Kept:
        centred_ND = x_ND - b_pre_D
        kept = choose(centred_ND, W_enc_FD, b_enc_F)
        ctx.save_for_backward(centred_ND, W_enc_FD, kept.indices_NK, kept.n_kept_N)
        ctx.mark_non_differentiable(kept.indices_NK, kept.n_kept_N)
        ctx.set_materialize_grads(False)
        return kept

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        centred_ND, W_enc_FD, indices_NK, n_kept_N = ctx.saved_tensors
        gradient_NK = gradients[0]
        assert gradient_NK is not None
        real_NK = torch.arange(indices_NK.shape[1], device=indices_NK.device) < n_kept_N[:, None]
        gradient_NK = torch.where(real_NK, gradient_NK, 0)
        pairs = by_feature(gradient_NK, indices_NK, len(W_enc_FD))
        grad_W_enc_FD = gather_tokens(pairs, gradient_NK, centred_ND)
        grad_b_enc_F = gather_tokens(pairs, gradient_NK, gradient_NK.new_ones(len(centred_ND), 1)).flatten()
        grad_b_pre_D = -(grad_b_enc_F @ W_enc_FD)
        grad_x_ND = None
        if ctx.needs_input_grad[0]:
            grad_x_ND = torch.zeros_like(centred_ND)
            mix_rows(gradient_NK, indices_NK, W_enc_FD, grad_x_ND)
        return grad_x_ND, grad_b_pre_D, grad_W_enc_FD, grad_b_enc_F, None


def _all_above(centred_ND: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, *, bound_F: Tensor) -> Kept:
    """Every entry above its bound."""
    if engine(centred_ND) == "triton":
        from bathyscope.dictionaries.kernels.gpu import above

        return above.above(centred_ND, W_enc_FD, b_enc_F, bound_F=bound_F)
    bias_F, bound = b_enc_F.detach().contiguous().numpy(), bound_F.contiguous().numpy()
    parts = [_kept(pre_NF, bias_F, bound, first) for first, pre_NF in _chunks(centred_ND, W_enc_FD)]
    return _padded(_joined(parts, bound.dtype), len(centred_ND))


def _all_largest(centred_ND: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, *, n_keep: int) -> Kept:
    """The `n_keep` largest positive entries of all."""
    if engine(centred_ND) == "triton":
        from bathyscope.dictionaries.kernels.gpu import above

        return above.largest_of_batch(centred_ND, W_enc_FD, b_enc_F, n_keep=n_keep)
    return _padded(
        _largest(centred_ND, W_enc_FD, b_enc_F.detach().contiguous().numpy(), n_keep=n_keep), len(centred_ND)
    )


def _chunks(centred_ND: Tensor, W_enc_FD: Tensor) -> Iterator[tuple[int, NDArray[Any]]]:
    """First row and products with the encoder, without bias, of a few rows at a time, all in one buffer."""
    n, n_features = len(centred_ND), len(W_enc_FD)
    n_rows = max(1, min(n, CHUNK_BYTES // (n_features * centred_ND.element_size())))
    buffer = centred_ND.new_empty(n_rows, n_features)
    for first in range(0, n, n_rows):
        chunk = centred_ND[first : first + n_rows]
        yield first, torch.mm(chunk, W_enc_FD.T, out=buffer[: len(chunk)]).numpy()


def _largest(
    centred_ND: Tensor, W_enc_FD: Tensor, bias_F: NDArray[Any], *, n_keep: int, bound: float | None = None
) -> _Flat:
    """The `n_keep` largest positive entries of all.

    Entries above a bound guessed from the first chunk are gathered. When they are enough, the largest are among them;
    when not, all is done again from bound 0. Too many are cut down on the way, which raises the bound.
    """
    n_entries = len(centred_ND) * len(W_enc_FD)
    parts: list[_Flat] = []
    started_at = bound
    for first, pre_NF in _chunks(centred_ND, W_enc_FD):
        if bound is None:
            bound = started_at = _likely_bound(pre_NF, bias_F, n_keep / n_entries)
        parts.append(_kept(pre_NF, bias_F, np.full_like(bias_F, bound), first))
        if sum(len(part.values) for part in parts) > 4 * n_keep:
            parts = [_cut(_joined(parts, bias_F.dtype), n_keep)]
            bound = max(bound, float(parts[0].values.min(initial=np.inf)))
    flat = _cut(_joined(parts, bias_F.dtype), n_keep)
    if len(flat.values) < n_keep and started_at:
        return _largest(centred_ND, W_enc_FD, bias_F, n_keep=n_keep, bound=0.0)
    return flat


def _likely_bound(pre_NF: NDArray[Any], bias_F: NDArray[Any], share: float) -> float:
    """A value ≥ 0 that somewhat more than `share` of all entries exceed, from evenly spaced entries of all features."""
    n_features = pre_NF.shape[1]
    step = max(1, pre_NF.size // SAMPLE)
    while math.gcd(step, n_features) > 1:
        step += 1
    sample = pre_NF.reshape(-1)[::step] + bias_F[np.arange(0, pre_NF.size, step) % n_features]
    expected = share * len(sample)
    rank = int(1.25 * expected + 4 * math.sqrt(expected) + 4)
    if rank > len(sample):
        return 0.0
    return max(0.0, float(np.nan_to_num(np.partition(sample, len(sample) - rank)[len(sample) - rank])))


def _kept(pre_NF: NDArray[Any], bias_F: NDArray[Any], bound_F: NDArray[Any], first: int) -> _Flat:
    """Entries of one chunk above their bounds; the chunk gets the bias added."""
    n_above = np.empty(len(pre_NF), np.int64)
    share_rows(_count_above, len(pre_NF), pre_NF, bias_F, bound_F, n_above)
    ends = np.cumsum(n_above)
    total = int(ends[-1])
    flat = _Flat(np.empty(total, pre_NF.dtype), np.empty(total, np.int64), np.empty(total, np.int64))
    share_rows(_write_above, len(pre_NF), pre_NF, bound_F, ends - n_above, first, *flat)
    return flat


def _cut(flat: _Flat, n_keep: int) -> _Flat:
    """The `n_keep` largest, the first ones among equal entries; NaN counts as largest."""
    surplus = len(flat.values) - n_keep
    if surplus <= 0:
        return flat
    size = np.where(np.isnan(flat.values), np.inf, flat.values)
    least = np.partition(size, surplus)[surplus]
    is_kept = size > least
    is_kept[np.flatnonzero(size == least)[: n_keep - int(is_kept.sum())]] = True
    return _Flat(*(column[is_kept] for column in flat))


def _joined(parts: list[_Flat], dtype: np.dtype[Any]) -> _Flat:
    """All parts in order."""
    none = _Flat(np.empty(0, dtype), np.empty(0, np.int64), np.empty(0, np.int64))
    return parts[0] if len(parts) == 1 else _Flat(*map(np.concatenate, zip(none, *parts, strict=True)))


def _padded(flat: _Flat, n: int) -> Kept:
    """Rows of pairs, as wide as the widest."""
    n_kept = np.bincount(flat.rows, minlength=n)
    width = max(1, int(n_kept.max(initial=0)))
    values, features = np.zeros((n, width), flat.values.dtype), np.zeros((n, width), np.int64)
    slots = np.arange(len(flat.rows)) - (np.cumsum(n_kept) - n_kept)[flat.rows]
    values[flat.rows, slots], features[flat.rows, slots] = flat.values, flat.features
    return Kept(torch.from_numpy(values), torch.from_numpy(features), torch.from_numpy(n_kept))


@compiled(reorder=False)
@no_type_check
def _count_above(
    pre: NDArray[Any], bias: NDArray[Any], bound: NDArray[Any], n_above: NDArray[Any], start: int, stop: int
) -> None:
    for n in range(start, stop):
        row = pre[n]
        above, nan = 0, 0
        for f in range(len(bias)):
            value = row[f] + bias[f]
            row[f] = value
            above += value > bound[f]
            nan += value != value  # noqa: PLR0124
        n_above[n] = above + min(nan, 1)


@compiled(reorder=False)
@no_type_check
def _write_above(
    pre: NDArray[Any],
    bound: NDArray[Any],
    offsets: NDArray[Any],
    first: int,
    values: NDArray[Any],
    features: NDArray[Any],
    rows: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    for n in range(start, stop):
        row, slot, has_nan = pre[n], offsets[n], False
        for f in range(len(bound)):
            value = row[f]
            if value > bound[f] or (value != value and not has_nan):  # noqa: PLR0124
                has_nan = has_nan or value != value  # noqa: PLR0124
                values[slot], features[slot], rows[slot] = value, f, first + n
                slot += 1
