"""The encoder's product, tile by tile, with what is kept of each tile: nothing of size [N, F] is ever written.

A program computes [ROWS, COLUMNS] pre-activations with float32 sums. `first_of_tiles` writes the m first of each row
of a tile in the order of `order.py`, and the best of what it left out. Where that comes before the k-th of all
candidates, the tile may hold more of the k first: `rest_of_tiles` computes it again, by the same sums, and writes the
rest. That is all it takes: an entry among the k first is a candidate, or the best left out of its tile comes before
the k-th candidate. At most (k - 1) // m tiles of a row are such, as each puts its m candidates before the k-th.
"""

import math
from typing import Any, NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.kernels.gpu.largest import Entries
from bathyscope.dictionaries.kernels.gpu.launch import launch
from bathyscope.dictionaries.kernels.gpu.order import PAD, keys_of

COLUMNS = 128
"""Features of a tile."""
MOST_PER_TILE = 16
"""Candidates of a tile beyond which finding them one after the other costs more than writing the tile."""
REPAIRS = 0.01
"""How often a tile of features in random order may have to be computed again."""
CROWDING = 4
"""How many times more of the k largest than an even spread are reckoned with in a tile."""


class Tile(NamedTuple):
    """How a program is cut. Along D the sums are always taken in the same steps, whatever the rest."""

    rows: int
    """Tokens of a tile."""
    steps: int
    """Part of the width D that is multiplied at once."""
    num_warps: int
    """Groups of 32 threads."""
    num_stages: int
    """Loads under way at once."""


TILES = {4: (Tile(64, 32, 4, 3), Tile(128, 32, 8, 3)), 2: (Tile(128, 64, 8, 3), Tile(64, 64, 4, 4))}
"""By bytes of an element: the first is used, `benchmarks/gpu_step.py` times all. They differ in speed, not in sums."""


class Encoder(NamedTuple):
    """Operands of the product, contiguous."""

    centred_ND: Float[Tensor, "N D"]
    W_enc_FD: Float[Tensor, "F D"]
    b_enc_F: Float[Tensor, " F"]

    @property
    def n_tiles(self) -> int:
        """Tiles along the features."""
        return triton.cdiv(len(self.W_enc_FD), COLUMNS)

    @property
    def grid(self) -> tuple[int]:
        """Programs of one tile of features follow each other, so that its rows of W_enc are read once."""
        return (triton.cdiv(len(self.centred_ND), self.tile.rows) * self.n_tiles,)

    @property
    def tile(self) -> Tile:
        """How programs are cut."""
        return TILES[self.centred_ND.element_size()][0]

    def constants(self) -> dict[str, int | str | bool]:
        """What a kernel with a product is compiled for."""
        tile = self.tile
        return {
            "PRECISION": "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32",
            "IS_WHOLE": self.centred_ND.shape[1] % tile.steps == 0,
            "ROWS": tile.rows,
            "COLUMNS": COLUMNS,
            "STEPS": tile.steps,
            "num_warps": tile.num_warps,
            "num_stages": tile.num_stages,
        }


class Candidates(NamedTuple):
    """The first entries of each tile of each row, T tiles of m."""

    entries: Entries
    rest: Entries
    """The best entry that each tile left out, [N, T]."""


def candidates_per_tile(n_features: int, k: int) -> int:
    """m: so many that few tiles hold more of a row's k largest, if these are spread over tiles like Poisson counts."""
    mean = CROWDING * k / triton.cdiv(n_features, COLUMNS)
    term = at_most = math.exp(-mean)
    m = 0
    while (1 - at_most) * 128 > REPAIRS and m < COLUMNS:
        m += 1
        term *= mean / m
        at_most += term
    return max(m, 1)


def first_of_tiles(encoder: Encoder, m: int, *, absolute: bool) -> Candidates:
    """The m first entries of each tile, and the best of the others."""
    n, n_tiles = len(encoder.centred_ND), encoder.n_tiles
    sizes = (n_tiles * m, n_tiles * m, n_tiles, n_tiles)
    tensors = [encoder.centred_ND.new_empty(n, size, dtype=torch.int32) for size in sizes]
    arguments: tuple[Any, ...] = (*encoder, *tensors, n, *encoder.W_enc_FD.shape, n_tiles)
    launch(_first, encoder.grid, *arguments, M=m, ABSOLUTE=absolute, **encoder.constants())
    return Candidates(Entries(*tensors[:2]), Entries(*tensors[2:]))


def rest_of_tiles(encoder: Encoder, m: int, rest: Entries, kept: Entries, *, absolute: bool) -> Entries:
    """All other entries of the tiles whose best one left out comes before the last of the k kept candidates."""
    n, k = kept.keys_NC.shape
    most = (k - 1) // m
    keys = torch.full((n, most * COLUMNS), PAD.value, dtype=torch.int32, device=kept.keys_NC.device)
    out = Entries(keys, torch.zeros_like(keys))
    if most:
        last_key_N1 = kept.keys_NC.amin(1, keepdim=True)
        last_tag_N1 = torch.where(kept.keys_NC == last_key_N1, kept.tags_NC, -1).amax(1, keepdim=True)
        is_before = (rest.keys_NC == last_key_N1) & (rest.tags_NC < last_tag_N1) | (rest.keys_NC > last_key_N1)
        is_due = is_before & (rest.keys_NC != PAD.value)
        slots = torch.where(is_due, is_due.cumsum(1, dtype=torch.int32) - 1, -1)
        arguments: tuple[Any, ...] = (*encoder, slots, *out, n, *encoder.W_enc_FD.shape, encoder.n_tiles, most)
        launch(_rest, encoder.grid, *arguments, M=m, ABSOLUTE=absolute, **encoder.constants())
    return out


def all_of_tiles(encoder: Encoder) -> Float[Tensor, "N F"]:
    """All pre-activations, float32: for few rows or few features."""
    n, n_features = len(encoder.centred_ND), len(encoder.W_enc_FD)
    pre_NF = encoder.centred_ND.new_empty(n, n_features, dtype=torch.float32)
    launch(_all, encoder.grid, *encoder, pre_NF, n, *encoder.W_enc_FD.shape, **encoder.constants())
    return pre_NF


@triton.jit
@no_type_check
def products(
    x,
    w,
    bias,
    row,
    column,
    n,
    n_features,
    n_d,
    PRECISION: tl.constexpr,
    IS_WHOLE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Pre-activations of a tile, float32. Rows and columns beyond the last repeat it: they are not to be stored."""
    at_x = tl.minimum(row, n - 1).to(tl.int64)[:, None] * n_d
    at_w = tl.minimum(column, n_features - 1).to(tl.int64)[:, None] * n_d
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, n_d, STEPS):
        d = (first + tl.arange(0, STEPS))[None, :]
        if IS_WHOLE:
            a, b = tl.load(x + at_x + d), tl.load(w + at_w + d)
        else:
            a = tl.load(x + at_x + d, mask=d < n_d, other=0.0)
            b = tl.load(w + at_w + d, mask=d < n_d, other=0.0)
        total = tl.dot(a, tl.trans(b), total, input_precision=PRECISION)
    return total + tl.load(bias + tl.minimum(column, n_features - 1)).to(tl.float32)[None, :]


@triton.jit
@no_type_check
def _first(
    x,
    w,
    bias,
    out_keys,
    out_tags,
    rest_keys,
    rest_tags,
    n,
    n_features,
    n_d,
    n_tiles,
    M: tl.constexpr,
    ABSOLUTE: tl.constexpr,
    PRECISION: tl.constexpr,
    IS_WHOLE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEPS: tl.constexpr,
):
    n_blocks = tl.cdiv(n, ROWS)
    tile = tl.program_id(0) // n_blocks
    row = (tl.program_id(0) % n_blocks) * ROWS + tl.arange(0, ROWS)
    column = tile * COLUMNS + tl.arange(0, COLUMNS)
    pre = products(x, w, bias, row, column, n, n_features, n_d, PRECISION, IS_WHOLE, ROWS, COLUMNS, STEPS)
    keys = tl.where(column[None, :] < n_features, keys_of(pre, ABSOLUTE), PAD)
    tags = (2 * column)[None, :] + (pre < 0).to(tl.int32)
    at = row.to(tl.int64) * n_tiles + tile
    for j in tl.static_range(M):
        key, tag, keys = take_first(keys, tags)
        tl.store(out_keys + at * M + j, key, mask=row < n)
        tl.store(out_tags + at * M + j, tag, mask=row < n)
    key, tag, keys = take_first(keys, tags)
    tl.store(rest_keys + at, key, mask=row < n)
    tl.store(rest_tags + at, tag, mask=row < n)


@triton.jit
@no_type_check
def take_first(keys, tags):
    """Key and tag of each row's first entry, and the keys without it."""
    key = tl.max(keys, axis=1)
    tag = tl.min(tl.where(keys == key[:, None], tags, 2147483647), axis=1)
    return key, tag, tl.where(tags == tag[:, None], PAD, keys)


@triton.jit
@no_type_check
def _rest(
    x,
    w,
    bias,
    slots,
    out_keys,
    out_tags,
    n,
    n_features,
    n_d,
    n_tiles,
    n_slots,
    M: tl.constexpr,
    ABSOLUTE: tl.constexpr,
    PRECISION: tl.constexpr,
    IS_WHOLE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEPS: tl.constexpr,
):
    n_blocks = tl.cdiv(n, ROWS)
    tile = tl.program_id(0) // n_blocks
    row = (tl.program_id(0) % n_blocks) * ROWS + tl.arange(0, ROWS)
    slot = tl.load(slots + row.to(tl.int64) * n_tiles + tile, mask=row < n, other=-1)
    if tl.max(slot, axis=0) >= 0:
        column = tile * COLUMNS + tl.arange(0, COLUMNS)
        pre = products(x, w, bias, row, column, n, n_features, n_d, PRECISION, IS_WHOLE, ROWS, COLUMNS, STEPS)
        keys = tl.where(column[None, :] < n_features, keys_of(pre, ABSOLUTE), PAD)
        tags = (2 * column)[None, :] + (pre < 0).to(tl.int32)
        for _j in tl.static_range(M):
            _key, _tag, keys = take_first(keys, tags)
        to = (row.to(tl.int64) * n_slots + slot)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
        is_due = (slot >= 0)[:, None]
        tl.store(out_keys + to, keys, mask=is_due)
        tl.store(out_tags + to, tags, mask=is_due)


@triton.jit
@no_type_check
def _all(
    x,
    w,
    bias,
    out,
    n,
    n_features,
    n_d,
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
    to = row.to(tl.int64)[:, None] * n_features + column[None, :]
    tl.store(out + to, pre, mask=(row < n)[:, None] & (column < n_features)[None, :])
