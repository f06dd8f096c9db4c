"""The k largest entries of each row: plain PyTorch, and compiled code for a CPU.

The compiled code finds a lower bound of the k-th largest value first, from the maxima of strided groups of columns (k
groups with maxima ≥ t hold k values ≥ t); only groups that reach it are looked at again. Exact, ties included.
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.threads import share_rows


class Pairs(NamedTuple):
    """Values and features of each token."""

    values_NK: Float[Tensor, "N K"]
    indices_NK: Int[Tensor, "N K"]


def select_largest(pre_NF: Float[Tensor, "N F"], k: int, *, absolute: bool = False) -> Pairs:
    """`ReLU` of the k largest entries of each row, with their column numbers (int64); differentiable in `pre_NF`.

    With `absolute` the k entries of largest size, as they are. In order of the column, with the lowest columns among
    equal entries; in plain PyTorch in its own order. NaN is never hidden: a row with fewer than k entries that are
    numbers gets NaN entries for the rest.
    """
    if (which := engine(pre_NF)) != "plain":
        indices_NK = _largest_columns(pre_NF.detach(), k, absolute=absolute, is_compiled=which == "compiled")
        kept_NK = pre_NF.gather(1, indices_NK)
        return Pairs(kept_NK if absolute else kept_NK.relu(), indices_NK)
    return select_largest_reference(pre_NF, k, absolute=absolute)


def _largest_columns(pre_NF: Tensor, k: int, *, absolute: bool, is_compiled: bool) -> Tensor:
    """Columns of the k largest, rising."""
    if is_compiled:
        return select_largest_compiled(pre_NF.clone(), None, k, absolute=absolute).indices_NK
    from bathyscope.dictionaries.kernels.gpu import largest

    return largest.in_order_of_feature(
        largest.largest_values(pre_NF, k, absolute=absolute), absolute=absolute
    ).indices_NK


def select_largest_reference(pre_NF: Float[Tensor, "N F"], k: int, *, absolute: bool = False) -> Pairs:
    """The definition: `torch.topk`, which says nothing about ties and takes NaN as largest, then ReLU.

    With `absolute`: `torch.topk` of the sizes, then nothing.
    """
    if absolute:
        indices_NK = pre_NF.detach().abs().topk(k, dim=1, sorted=False).indices
        return Pairs(pre_NF.gather(1, indices_NK), indices_NK)
    values_NK, indices_NK = pre_NF.topk(k, dim=1, sorted=False)
    return Pairs(values_NK.relu(), indices_NK)


def select_among(pairs: Pairs, k: int) -> Pairs:
    """The k largest of each token's pairs, those that selecting k at once would have given; the same for k of them."""
    if k >= pairs.values_NK.shape[1]:
        return pairs
    values_NK, slots_NK = select_largest(pairs.values_NK, k)
    return Pairs(values_NK, pairs.indices_NK.gather(1, slots_NK))


def select_largest_compiled(
    pre_NF: Float[Tensor, "N F"], bias_F: Float[Tensor, " F"] | None, k: int, *, absolute: bool = False
) -> Pairs:
    """The same of `pre_NF + bias_F` on a CPU, without gradients; the sum replaces `pre_NF` (contiguous)."""
    n, n_features = pre_NF.shape
    values_NK, indices_NK = pre_NF.new_empty(n, k), torch.empty(n, k, dtype=torch.int64)
    bias_F = pre_NF.new_empty(0) if bias_F is None else bias_F.detach().contiguous()
    outcome = (values_NK.numpy(), indices_NK.numpy())
    share_rows(_select_rows, n, pre_NF.numpy(), bias_F.numpy(), n_groups(n_features, k), absolute, *outcome)
    return Pairs(values_NK, indices_NK)


def n_groups(n_features: int, k: int) -> int:
    """Number of strided column groups: enough that few groups hold two of the k largest, few enough to be quick."""
    return min(n_features, max(64, 4 * k))


@compiled(reorder=False)
@no_type_check
def _select_rows(
    pre_NF: NDArray[Any],
    bias_F: NDArray[Any],
    n_group: int,
    absolute: bool,
    values_NK: NDArray[Any],
    indices_NK: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    n_features, k = pre_NF.shape[1], indices_NK.shape[1]
    sizes = np.empty(n_features if absolute else 0, pre_NF.dtype)
    maxima = np.empty(n_group, pre_NF.dtype)
    scratch = np.empty(n_features, pre_NF.dtype)
    reached = np.empty(n_group, np.int64)
    found = np.empty(n_features, np.int64)
    for n in range(start, stop):
        row = entries = pre_NF[n]
        for f in range(len(bias_F)):
            row[f] += bias_F[f]
        if absolute:
            row = take_sizes(entries, sizes)
        group_maxima(row, maxima)
        scratch[:n_group] = maxima
        bound = kth_largest(scratch, n_group, k)
        n_reached = 0
        for j in range(n_group):
            if maxima[j] >= bound:
                reached[n_reached] = j
                n_reached += 1
        n_found = 0
        for base in range(0, n_features, n_group):
            for i in range(n_reached):
                f = base + reached[i]
                if f < n_features and row[f] >= bound:
                    found[n_found] = f
                    scratch[n_found] = row[f]
                    n_found += 1
        _write_largest(row, found, scratch, n_found, k, indices_NK[n])
        for j in range(k):
            value = entries[indices_NK[n, j]]
            values_NK[n, j] = 0 if value < 0 and not absolute else value


@compiled(reorder=False)
@no_type_check
def take_sizes(row: NDArray[Any], sizes: NDArray[Any]) -> NDArray[Any]:
    """sizes = |row|, and back."""
    for f in range(len(row)):
        sizes[f] = abs(row[f])
    return sizes


@compiled(reorder=False)
@no_type_check
def group_maxima(row: NDArray[Any], maxima: NDArray[Any]) -> None:
    """maxima[j] = largest number among row[j], row[j + G], row[j + 2G], …; -inf where all are NaN."""
    n_group = len(maxima)
    maxima[:] = -np.inf
    for base in range(0, len(row), n_group):
        part = row[base : base + n_group]
        for j in range(len(part)):
            maxima[j] = part[j] if part[j] > maxima[j] else maxima[j]


@compiled(reorder=False)
@no_type_check
def kth_largest(values: NDArray[Any], n: int, k: int) -> float:
    """The k-th largest of values[:n], which it reorders (Hoare's selection, middle of three as pivot). No NaN."""
    low, high, target = 0, n - 1, k - 1
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            break
    return values[target]


@compiled(reorder=False)
@no_type_check
def _write_largest(
    row: NDArray[Any], found: NDArray[Any], scratch: NDArray[Any], n_found: int, k: int, out_K: NDArray[Any]
) -> None:
    """The k largest of the found columns, in rising order; when NaN left fewer than k, columns of NaN fill up."""
    if n_found < k:
        out_K[:n_found] = found[:n_found]
        for f in range(len(row)):
            if n_found < k and np.isnan(row[f]):
                out_K[n_found] = f
                n_found += 1
        return
    least = kth_largest(scratch, n_found, k)
    n_above = 0
    for i in range(n_found):
        n_above += row[found[i]] > least
    n_equal_left, slot = k - n_above, 0
    for i in range(n_found):
        value = row[found[i]]
        if value > least or (value == least and n_equal_left > 0):
            n_equal_left -= value == least
            out_K[slot] = found[i]
            slot += 1
