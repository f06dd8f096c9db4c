"""Sums of rows by sparse weights, the only heavy work of a sparse step after the encoder product.

Over (values, indices) pairs: mix rows into tokens, take such mixtures off tokens, compare tokens with rows, gather
tokens into features. Compiled for a CPU here, in Triton or in plain PyTorch elsewhere. Each visits its output rows in a
fixed order, so results do not depend on threads.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.dictionaries.kernels import plain
from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.threads import n_pieces, share, share_rows


@dataclass(frozen=True, slots=True, eq=False)
class ByFeature:
    """The non-zero pairs of codes sorted by feature, then by token: column f is offsets[f] … offsets[f + 1]."""

    offsets: NDArray[np.int64]
    """Where each feature begins, [F + 1]."""
    pairs: NDArray[np.int64]
    """Flat positions n·K + j of the pairs, [number of non-zero pairs]."""
    k: int
    """K, pairs per token."""


@dataclass(frozen=True, slots=True, eq=False)
class SortedPairs:
    """The same where no compiled code runs."""

    offsets: Int[Tensor, " _"]
    """Where each feature begins, [F + 1]."""
    pairs: Int[Tensor, " M"]
    """Flat positions n·K + j of all pairs; those of value 0 come after the last feature."""
    k: int
    """K, pairs per token."""


def by_feature(
    values_NK: Float[Tensor, "N K"], indices_NK: Int[Tensor, "N K"], n_features: int
) -> ByFeature | SortedPairs:
    """The pairs with value ≠ 0 by feature; tokens rise within a feature."""
    if engine(values_NK) == "compiled":
        return by_feature_compiled(values_NK, indices_NK, n_features)
    return by_feature_sorted(values_NK, indices_NK, n_features)


def by_feature_compiled(values_NK: Float[Tensor, "N K"], indices_NK: Int[Tensor, "N K"], n_features: int) -> ByFeature:
    """The same on a CPU: a stable counting sort."""
    values, indices = values_NK.detach().numpy().reshape(-1), indices_NK.numpy().reshape(-1)
    offsets = np.zeros(n_features + 1, np.int64)
    pairs = np.empty(len(values), np.int64)
    n_pairs = _sort_pairs(values, indices, offsets, pairs)
    return ByFeature(offsets, pairs[:n_pairs], values_NK.shape[1])


def by_feature_sorted(values_NK: Float[Tensor, "N K"], indices_NK: Int[Tensor, "N K"], n_features: int) -> SortedPairs:
    """The same by a stable sort, without waiting for a device: pairs of value 0 are sorted behind the last feature."""
    features_M = torch.where(values_NK != 0, indices_NK, n_features).flatten().to(torch.int32)
    features_M, pairs_M = features_M.sort(stable=True)
    bounds = torch.arange(n_features + 1, dtype=torch.int32, device=features_M.device)
    return SortedPairs(torch.searchsorted(features_M, bounds), pairs_M, values_NK.shape[1])


def mix_rows(
    values_NK: Float[Tensor, "N K"], indices_NK: Int[Tensor, "N K"], rows_FD: Float[Tensor, "F D"], out_ND: Tensor
) -> None:
    """Add to `out_ND[n]` the sum over j of `values_NK[n, j] · rows_FD[indices_NK[n, j]]`."""
    if (others := _others(values_NK)) is not None:
        return others.mix_rows(values_NK, indices_NK, rows_FD, out_ND)
    arrays = [t.detach().contiguous().numpy() for t in (values_NK, indices_NK, rows_FD)]
    return share_rows(_mix_rows, len(values_NK), *arrays, out_ND.numpy())


class Residual(NamedTuple):
    """What a mixture of rows and a bias leave of tokens."""

    residual_ND: Float[Tensor, "N D"]
    squared: Float[Tensor, ""]
    """Sum of its squares, float64."""
    along_NK: Float[Tensor, "N K"]
    """Inner products of each token's residual with the rows it names, also with those that it names with weight 0."""


def residual_rows(
    x_ND: Float[Tensor, "N D"],
    values_NK: Float[Tensor, "N K"],
    indices_NK: Int[Tensor, "N K"],
    rows_FD: Float[Tensor, "F D"],
    bias_D: Float[Tensor, " D"],
) -> Residual:
    """`x - Σ_j values[j] · rows[indices[j]] - bias`; rows are compared with it while they are in the cache."""
    if (others := _others(x_ND)) is not None:
        residual_ND, squared = others.residual_rows(x_ND, values_NK, indices_NK, rows_FD, bias_D)
        return Residual(residual_ND, squared, compare_rows(residual_ND, rows_FD, indices_NK))
    residual_ND, squares_N = torch.empty_like(x_ND), torch.empty(len(x_ND), dtype=torch.float64)
    along_NK = torch.empty(indices_NK.shape, dtype=x_ND.dtype)
    arrays = [t.detach().contiguous().numpy() for t in (x_ND, values_NK, indices_NK, rows_FD, bias_D)]
    share_rows(_residual_rows, len(x_ND), *arrays, residual_ND.numpy(), squares_N.numpy(), along_NK.numpy())
    return Residual(residual_ND, squares_N.sum(), along_NK)


def compare_rows(
    x_ND: Float[Tensor, "N D"],
    rows_FD: Float[Tensor, "F D"],
    indices_NK: Int[Tensor, "N K"],
    *,
    factor: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, "N K"]:
    """Inner products of tokens with the rows they name: `out[n, j] = factor · x_ND[n] · rows_FD[indices_NK[n, j]]`."""
    if (others := _others(x_ND)) is not None:
        return others.compare_rows(x_ND, rows_FD, indices_NK, factor=factor)
    out_NK = torch.empty(indices_NK.shape, dtype=x_ND.dtype)
    arrays = [t.detach().contiguous().numpy() for t in (x_ND, rows_FD, indices_NK)]
    share_rows(_compare_rows, len(x_ND), *arrays, arrays[0].dtype.type(float(factor)), out_NK.numpy())
    return out_NK


def gather_tokens(
    pairs: ByFeature | SortedPairs,
    values_NK: Float[Tensor, "N K"],
    x_ND: Float[Tensor, "N D"],
    *,
    factor: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, "F D"]:
    """For each feature the sum over its tokens: `out[f] = factor · Σ_(n, j) values_NK[n, j] · x_ND[n]`; else zeros."""
    if isinstance(pairs, SortedPairs):
        return _others(x_ND).gather_tokens(pairs.offsets, pairs.pairs, values_NK, x_ND, factor=factor)
    n_features = len(pairs.offsets) - 1
    out_FD = torch.empty(n_features, x_ND.shape[1], dtype=x_ND.dtype)
    shares = np.linspace(0, len(pairs.pairs), n_pieces(n_features) + 1)[1:-1]
    bounds = [0, *np.searchsorted(pairs.offsets[:-1], shares).tolist(), n_features]
    values, x = values_NK.detach().contiguous().numpy().reshape(-1), x_ND.detach().contiguous().numpy()
    share(
        _gather_tokens,
        bounds,
        pairs.offsets,
        pairs.pairs,
        pairs.k,
        x.dtype.type(float(factor)),
        values,
        x,
        out_FD.numpy(),
    )
    return out_FD


def _others(x: Tensor) -> Any:
    """The module with the same functions for tensors that compiled code does not take; None for those that it takes."""
    match engine(x):
        case "compiled":
            return None
        case "triton":
            from bathyscope.dictionaries.kernels.gpu import rows

            return rows
        case "plain":
            return plain


@compiled(reorder=False)
@no_type_check
def _sort_pairs(values: NDArray[Any], indices: NDArray[Any], offsets: NDArray[Any], pairs: NDArray[Any]) -> int:
    for p in range(len(values)):
        if values[p] != 0:
            offsets[indices[p] + 1] += 1
    for f in range(1, len(offsets)):
        offsets[f] += offsets[f - 1]
    slot = offsets[:-1].copy()
    for p in range(len(values)):
        if values[p] != 0:
            pairs[slot[indices[p]]] = p
            slot[indices[p]] += 1
    return offsets[-1]


@compiled(reorder=True)
@no_type_check
def _mix_rows(
    values: NDArray[Any], indices: NDArray[Any], rows: NDArray[Any], out: NDArray[Any], start: int, stop: int
) -> None:
    slots, sign = np.empty(values.shape[1], np.int64), values.dtype.type(1)
    for n in range(start, stop):
        _add_mixture(values, indices, rows, n, sign, slots, out)


@compiled(reorder=True)
@no_type_check
def _residual_rows(
    x: NDArray[Any],
    values: NDArray[Any],
    indices: NDArray[Any],
    rows: NDArray[Any],
    bias: NDArray[Any],
    residual: NDArray[Any],
    squares: NDArray[Any],
    along: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    n_d, n_k = rows.shape[1], values.shape[1]
    slots, sign = np.empty(n_k, np.int64), values.dtype.type(-1)
    for n in range(start, stop):
        for d in range(n_d):
            residual[n, d] = x[n, d] - bias[d]
        _add_mixture(values, indices, rows, n, sign, slots, residual)
        total = x.dtype.type(0)
        for d in range(n_d):
            total += residual[n, d] * residual[n, d]
        squares[n] = total
        for j in range(n_k):
            f, inner = indices[n, j], x.dtype.type(0)
            for d in range(n_d):
                inner += residual[n, d] * rows[f, d]
            along[n, j] = inner


@compiled(reorder=True)
@no_type_check
def _add_mixture(
    values: NDArray[Any],
    indices: NDArray[Any],
    rows: NDArray[Any],
    n: int,
    sign: Any,
    slots: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Add ± token n's mixture of rows to `out[n]`, four rows at a time: they are on their way from memory at once."""
    n_slots = 0
    for j in range(len(slots)):
        slots[n_slots] = j
        n_slots += values[n, j] != 0
    whole = n_slots // 4 * 4
    for i in range(0, whole, 4):
        j0, j1, j2, j3 = slots[i], slots[i + 1], slots[i + 2], slots[i + 3]
        f0, f1, f2, f3 = indices[n, j0], indices[n, j1], indices[n, j2], indices[n, j3]
        v0, v1, v2, v3 = sign * values[n, j0], sign * values[n, j1], sign * values[n, j2], sign * values[n, j3]
        for d in range(rows.shape[1]):
            out[n, d] += v0 * rows[f0, d] + v1 * rows[f1, d] + v2 * rows[f2, d] + v3 * rows[f3, d]
    for i in range(whole, n_slots):
        f, value = indices[n, slots[i]], sign * values[n, slots[i]]
        for d in range(rows.shape[1]):
            out[n, d] += value * rows[f, d]


@compiled(reorder=True)
@no_type_check
def _compare_rows(
    x: NDArray[Any],
    rows: NDArray[Any],
    indices: NDArray[Any],
    factor: float,
    out: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    n_d = rows.shape[1]
    for n in range(start, stop):
        token = x[n]
        for j in range(indices.shape[1]):
            row = rows[indices[n, j]]
            total = x.dtype.type(0)
            for d in range(n_d):
                total += token[d] * row[d]
            out[n, j] = factor * total


@compiled(reorder=False)
@no_type_check
def _gather_tokens(
    offsets: NDArray[Any],
    pairs: NDArray[Any],
    k: int,
    factor: float,
    values: NDArray[Any],
    x: NDArray[Any],
    out: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    n_d = x.shape[1]
    for f in range(start, stop):
        out[f, :] = 0
        first, last = offsets[f], offsets[f + 1]
        whole = first + (last - first) // 4 * 4
        for i in range(first, whole, 4):
            p0, p1, p2, p3 = pairs[i], pairs[i + 1], pairs[i + 2], pairs[i + 3]
            n0, n1, n2, n3 = p0 // k, p1 // k, p2 // k, p3 // k
            v0, v1, v2, v3 = factor * values[p0], factor * values[p1], factor * values[p2], factor * values[p3]
            for d in range(n_d):
                out[f, d] += v0 * x[n0, d] + v1 * x[n1, d] + v2 * x[n2, d] + v3 * x[n3, d]
        for i in range(whole, last):
            n, value = pairs[i] // k, factor * values[pairs[i]]
            for d in range(n_d):
                out[f, d] += value * x[n, d]
