"""Row constraints on a GPU, one pass over each row: see `kernels/unit_rows.py`."""

from typing import no_type_check

import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.kernels.gpu.launch import launch

WIDTH = 1024
"""Most columns read at once."""


def project(rows_FD: Float[Tensor, "F D"], gradient_FD: Float[Tensor, "F D"]) -> None:
    """`gradient_f -= (gradient_f · row_f) row_f`, in place."""
    n_rows, n_d = rows_FD.shape
    launch(_project, (n_rows,), gradient_FD, rows_FD, n_d, WIDTH=min(WIDTH, triton.next_power_of_2(n_d)))


def normalise(rows_FD: Float[Tensor, "F D"]) -> None:
    """Rows of length 1, in place; a row of zeros stays."""
    n_rows, n_d = rows_FD.shape
    launch(_normalise, (n_rows,), rows_FD, n_d, WIDTH=min(WIDTH, triton.next_power_of_2(n_d)))


@triton.jit
@no_type_check
def _project(gradient, rows, n_d, WIDTH: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * n_d
    product = tl.zeros((WIDTH,), tl.float32)
    for first in range(0, n_d, WIDTH):
        d = first + tl.arange(0, WIDTH)
        row = tl.load(rows + start + d, mask=d < n_d, other=0.0).to(tl.float32)
        product += row * tl.load(gradient + start + d, mask=d < n_d, other=0.0).to(tl.float32)
    along = tl.sum(product, axis=0)
    for first in range(0, n_d, WIDTH):
        d = first + tl.arange(0, WIDTH)
        row = tl.load(rows + start + d, mask=d < n_d, other=0.0).to(tl.float32)
        slope = tl.load(gradient + start + d, mask=d < n_d, other=0.0).to(tl.float32)
        tl.store(gradient + start + d, slope - along * row, mask=d < n_d)


@triton.jit
@no_type_check
def _normalise(rows, n_d, WIDTH: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * n_d
    squares = tl.zeros((WIDTH,), tl.float32)
    for first in range(0, n_d, WIDTH):
        d = first + tl.arange(0, WIDTH)
        row = tl.load(rows + start + d, mask=d < n_d, other=0.0).to(tl.float32)
        squares += row * row
    square = tl.sum(squares, axis=0)
    factor = 1.0 / tl.sqrt(tl.where(square > 0, square, 1.0))
    for first in range(0, n_d, WIDTH):
        d = first + tl.arange(0, WIDTH)
        row = tl.load(rows + start + d, mask=d < n_d, other=0.0).to(tl.float32)
        tl.store(rows + start + d, factor * row, mask=d < n_d)
