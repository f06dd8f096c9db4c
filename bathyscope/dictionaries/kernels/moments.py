"""Mean and total variation of a batch, in float64."""

from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.threads import share_rows

BLOCK_ROWS = 128
"""Rows summed one after the other; blocks are then added in order, so sums do not depend on the number of threads."""


class Moments(NamedTuple):
    """First two moments of a batch."""

    n: int
    """Tokens."""
    mean_D: Float[Tensor, " D"]
    """Mean vector, float64."""
    variation: Float[Tensor, ""]
    """Σ_n ‖x_n - x̄‖², float64; exactly 0 where rounding is all that is left."""


def moments(x_ND: Float[Tensor, "N D"]) -> Moments:
    """Mean and variation, without gradient: one compiled pass on a CPU, plain PyTorch elsewhere."""
    if engine(x_ND) == "compiled":
        return moments_compiled(x_ND)
    return moments_reference(x_ND)


def moments_reference(x_ND: Float[Tensor, "N D"]) -> Moments:
    """The definition."""
    variance_D, mean_D = torch.var_mean(x_ND.detach().double(), dim=0, correction=0)
    return _moments(len(x_ND), mean_D, variance_D.sum() * len(x_ND))


def moments_compiled(x_ND: Float[Tensor, "N D"]) -> Moments:
    """The same on a CPU, from Σx and Σ‖x‖²: both exact enough in float64 for float32 data."""
    n, d = x_ND.shape
    n_blocks = -(-n // BLOCK_ROWS)
    sums, squares = np.empty((n_blocks, d)), np.empty(n_blocks)
    share_rows(_block_sums, n_blocks, x_ND.detach().contiguous().numpy(), sums, squares)
    mean_D = torch.from_numpy(sums.sum(0) / n)
    return _moments(n, mean_D, torch.as_tensor(squares.sum()) - n * mean_D.square().sum())


def _moments(n: int, mean_D: Tensor, variation: Tensor) -> Moments:
    rounding = 1e-13 * n * mean_D.square().sum()
    return Moments(n, mean_D, torch.where(variation > rounding, variation, torch.zeros_like(variation)))


@compiled(reorder=True)
@no_type_check
def _block_sums(x: NDArray[Any], sums: NDArray[Any], squares: NDArray[Any], start: int, stop: int) -> None:
    for block in range(start, stop):
        to, total = sums[block], 0.0
        to[:] = 0
        for n in range(block * BLOCK_ROWS, min(len(x), (block + 1) * BLOCK_ROWS)):
            for d in range(x.shape[1]):
                value = np.float64(x[n, d])
                to[d] += value
                total += value * value
        squares[block] = total
