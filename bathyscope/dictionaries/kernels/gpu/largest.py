"""The k first entries of each row in the order of `order.py`: bisection of the k-th key, then of the tag among equals.

Rows wider than a block are cut into blocks, whose k first are taken, and so on: the k first of a union are among the
k first of its parts. Exact, and the same whatever the blocks.
"""

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.kernels.gpu.launch import launch
from bathyscope.dictionaries.kernels.gpu.order import PAD, keys_of, values_of
from bathyscope.dictionaries.kernels.select import Pairs

BLOCK = 8192
"""Most entries of a row that one program looks at, at least 4·k."""
ENTRIES = 8192
"""Entries, of several rows if these are short, that one program holds in registers."""


class Entries(NamedTuple):
    """Entries of each row, in any order."""

    keys_NC: Int[Tensor, "N C"]
    """int32."""
    tags_NC: Int[Tensor, "N C"]
    """int32."""


def largest_of(entries: Entries, k: int) -> Entries:
    """The k first of each row's entries; padding where there are fewer."""
    while entries.keys_NC.shape[1] != k:
        entries = _kept(entries, entries.keys_NC, k)
    return entries


def largest_values(pre_NF: Float[Tensor, "N F"], k: int, *, absolute: bool) -> Entries:
    """The k first of each row of numbers, of their sizes with `absolute`."""
    return largest_of(_kept(None, pre_NF.contiguous(), k, absolute=absolute), k)


def in_order_of_feature(entries: Entries, *, absolute: bool) -> Pairs:
    """Values (float32) and columns (int64) of entries, columns rising."""
    tags_NK, order_NK = entries.tags_NC.sort(dim=1)
    keys_NK = entries.keys_NC.gather(1, order_NK)
    return Pairs(values_of(keys_NK, tags_NK, absolute=absolute), (tags_NK // 2).long())


def _kept(entries: Entries | None, source_NC: Tensor, k: int, *, absolute: bool = False) -> Entries:
    """The k first of each block of columns side by side, of `entries`, or else of numbers."""
    n, n_columns = source_NC.shape
    block = triton.next_power_of_2(max(k, 16, min(n_columns, max(BLOCK, 4 * k))))
    n_blocks, n_rows = triton.cdiv(n_columns, block), max(1, ENTRIES // block)
    kept = Entries(*(source_NC.new_empty(n, n_blocks * k, dtype=torch.int32) for _ in range(2)))
    tags = source_NC if entries is None else entries.tags_NC
    constants = {"FROM_VALUES": entries is None, "ABSOLUTE": absolute, "ROWS": n_rows, "BLOCK": block}
    arguments = (source_NC, tags, *kept, n, n_columns, n_blocks, k)
    launch(_keep_largest, (triton.cdiv(n, n_rows), n_blocks), *arguments, **constants, num_warps=8)
    return kept


@triton.jit
@no_type_check
def _keep_largest(
    source,
    tags,
    out_keys,
    out_tags,
    n,
    n_columns,
    n_blocks,
    k,
    FROM_VALUES: tl.constexpr,
    ABSOLUTE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    block = tl.program_id(1)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = (block * BLOCK + tl.arange(0, BLOCK))[None, :]
    is_there = (row < n)[:, None] & (column < n_columns)
    at = row[:, None] * n_columns + column
    if FROM_VALUES:
        value = tl.load(source + at, mask=is_there, other=0.0).to(tl.float32)
        key = tl.where(is_there, keys_of(value, ABSOLUTE), PAD)
        tag = 2 * column + (value < 0).to(tl.int32)
    else:
        key = tl.load(source + at, mask=is_there, other=PAD)
        tag = tl.load(tags + at, mask=is_there, other=2147483647)
    low, high = tl.full((ROWS,), -2147483648, tl.int64), tl.full((ROWS,), 2147483647, tl.int64)
    for _ in range(32):  # the largest key that k entries reach
        middle = (low + high + 1) >> 1
        is_enough = tl.sum((key >= middle.to(tl.int32)[:, None]).to(tl.int32), axis=1) >= k
        low, high = tl.where(is_enough, middle, low), tl.where(is_enough, high, middle - 1)
    least = low.to(tl.int32)[:, None]
    n_wanted = k - tl.sum((key > least).to(tl.int32), axis=1)
    low, high = tl.full((ROWS,), 0, tl.int64), tl.full((ROWS,), 2147483647, tl.int64)
    for _ in range(31):  # the least tag up to which enough entries have that key
        middle = (low + high) >> 1
        is_within = (key == least) & (tag <= middle.to(tl.int32)[:, None])
        is_enough = tl.sum(is_within.to(tl.int32), axis=1) >= n_wanted
        low, high = tl.where(is_enough, low, middle + 1), tl.where(is_enough, middle, high)
    is_kept = (key > least) | ((key == least) & (tag <= low.to(tl.int32)[:, None]))
    slot = tl.cumsum(is_kept.to(tl.int32), axis=1) - 1
    is_stored = is_kept & (slot < k) & (row < n)[:, None]
    to = (row * n_blocks + block)[:, None] * k + slot
    tl.store(out_keys + to, key, mask=is_stored)
    tl.store(out_tags + to, tag, mask=is_stored)
