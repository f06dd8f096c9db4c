"""The k largest entries of each row of a matrix that comes in blocks of columns and is never held whole.

Each row keeps a list of contenders and a bound: the k-th largest entry seen so far, or a lower bound of it. Of a new
block only entries above the bound are looked at, and the list is cut back to k when it is full. Exact: an entry that
equals the bound in a later column loses to k earlier ones, as the lowest column wins among equal entries.
"""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.select import Pairs, group_maxima, kth_largest, n_groups, take_sizes
from bathyscope.dictionaries.kernels.threads import share_rows

WIDTH = 64
"""Entries that are compared with the bound at once; the list always has room for so many more."""
ROOM = 3
"""Length of the list, in multiples of k."""
HALVINGS = 12
"""Most steps of the search for a bound."""


class Contenders:
    """The lists of N rows. Memory: N · (3 k + 64) · 8 bytes in float32."""

    def __init__(self, n: int, k: int, *, dtype: torch.dtype, absolute: bool) -> None:
        self.k, self.absolute = k, absolute
        self.values_NC = torch.empty(n, ROOM * k + WIDTH, dtype=dtype)
        self.columns_NC = torch.empty(n, ROOM * k + WIDTH, dtype=torch.int32)
        self.n_seen = 0
        self._count_N, self._bound_N = np.zeros(n, np.int64), np.full(n, -np.inf)

    def take(self, block_NM: Float[Tensor, "N M"], bias_M: Float[Tensor, " M"]) -> None:
        """Look at the next M columns, to which the bias is added (in a copy of each row)."""
        lists = (self.values_NC.numpy(), self.columns_NC.numpy(), self._count_N, self._bound_N)
        groups = n_groups(block_NM.shape[1], self.k) if self.n_seen == 0 else 0
        block = (block_NM.numpy(), bias_M.numpy(), self.n_seen)
        share_rows(_take_rows, len(block_NM), *block, groups, self.k, self.absolute, *lists)
        self.n_seen += block_NM.shape[1]

    def largest(self) -> tuple[Pairs, Bool[np.ndarray, " N"]]:
        """Values (ReLU unless `absolute`) and columns in rising order, and which rows are whole.

        A row with fewer than k entries that are numbers above minus infinity is not: what it holds means nothing.
        """
        n = len(self.values_NC)
        values_NK = self.values_NC.new_empty(n, self.k)
        columns_NK = torch.empty(n, self.k, dtype=torch.int64)
        lists = (self.values_NC.numpy(), self.columns_NC.numpy(), self._count_N)
        share_rows(_finish_rows, n, *lists, self.absolute, values_NK.numpy(), columns_NK.numpy())
        return Pairs(values_NK, columns_NK), self._count_N >= self.k


@compiled(reorder=False)
@no_type_check
def _take_rows(
    block: NDArray[Any],
    bias: NDArray[Any],
    first: int,
    n_group: int,
    k: int,
    absolute: bool,
    values: NDArray[Any],
    columns: NDArray[Any],
    counts: NDArray[Any],
    bounds: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    n_m, n_list = block.shape[1], values.shape[1]
    row, sizes = np.empty(n_m, block.dtype), np.empty(n_m if absolute else 0, block.dtype)
    maxima, scratch = np.empty(max(n_group, 1), block.dtype), np.empty(n_list, block.dtype)
    for n in range(start, stop):
        for m in range(n_m):
            row[m] = block[n, m] + bias[m]
        ranked = take_sizes(row, sizes) if absolute else row
        bound, count = block.dtype.type(bounds[n]), counts[n]
        if n_group >= k:
            group_maxima(ranked, maxima)
            bound = np.nextafter(_bound_of(maxima, n_group, k)[0], block.dtype.type(-np.inf))
        for base in range(0, n_m, WIDTH):
            part = ranked[base : base + WIDTH]
            n_above = np.int32(0)
            for m in range(len(part)):
                n_above += np.int32(part[m] > bound)
            if n_above == 0:
                continue
            for m in range(len(part)):
                if part[m] > bound:
                    values[n, count], columns[n, count] = row[base + m], first + base + m
                    count += 1
            if count > n_list - WIDTH:
                bound = max(bound, _cut(values, columns, n, count, k, absolute, scratch))
                count = k
        bounds[n], counts[n] = bound, count


@compiled(reorder=False)
@no_type_check
def _cut(
    values: NDArray[Any], columns: NDArray[Any], n: int, count: int, k: int, absolute: bool, scratch: NDArray[Any]
) -> float:
    """Leave the k largest of row n's `count` > k entries, in their order; a bound that only they reach."""
    for i in range(count):
        scratch[i] = abs(values[n, i]) if absolute else values[n, i]
    least, n_reach = _bound_of(scratch, count, k)
    n_equal_left = count
    if n_reach != k:  # entries alike, or infinite
        least = kth_largest(scratch, count, k)
        n_equal_left = k
        for i in range(count):
            n_equal_left -= (abs(values[n, i]) if absolute else values[n, i]) > least
    slot = 0
    for i in range(count):
        size = abs(values[n, i]) if absolute else values[n, i]
        values[n, slot], columns[n, slot] = values[n, i], columns[n, i]
        is_kept = size > least or (size == least and n_equal_left > 0)
        n_equal_left -= size == least
        slot += is_kept
    return least


@compiled(reorder=False)
@no_type_check
def _bound_of(values: NDArray[Any], n: int, k: int) -> tuple[float, int]:
    """A bound that at least k of values[:n] reach, few more where halving an interval finds one, and how many do."""
    low, high, half = values[0], values[0], values.dtype.type(0.5)  # a plain number would make all of this float64
    for i in range(1, n):
        low = values[i] if values[i] < low else low
        high = values[i] if values[i] > high else high
    n_low = np.int32(n)
    if not high - low < np.inf:
        return low, n_low
    for _ in range(HALVINGS):
        middle = low + half * (high - low)
        n_reach = np.int32(0)
        for i in range(n):
            n_reach += np.int32(values[i] >= middle)
        if n_reach >= k:
            low, n_low = middle, n_reach
            if n_reach == k:
                break
        else:
            high = middle
    return low, n_low


@compiled(reorder=False)
@no_type_check
def _finish_rows(
    values: NDArray[Any],
    columns: NDArray[Any],
    counts: NDArray[Any],
    absolute: bool,
    values_NK: NDArray[Any],
    columns_NK: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    k = values_NK.shape[1]
    scratch = np.empty(values.shape[1], values.dtype)
    for n in range(start, stop):
        if counts[n] > k:
            _cut(values, columns, n, counts[n], k, absolute, scratch)
        for j in range(k):
            value = values[n, j]
            values_NK[n, j] = 0 if value < 0 and not absolute else value
            columns_NK[n, j] = columns[n, j]
