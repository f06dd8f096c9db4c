"""Orthogonal matching pursuit on a CPU (Batch-OMP, Rubinstein et al. 2008), beside `solvers/orthogonal_pursuit.py`.

Inner products with what is left come from rows of the Gram matrix, amounts from a Cholesky factor that grows by a row.
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.pursuit import CHUNK_BYTES, GROUP, gram, take_off
from bathyscope.dictionaries.kernels.threads import share_rows

DEPENDENT = 1e-6
"""An atom with less than this squared distance (of 1) from the span of those already chosen ends the pursuit."""
SWEEPS = 500
"""Most rounds of coordinate descent in a non-negative fit."""
SETTLED = 1e-9
"""A non-negative fit is done when no amount moves by more than this share of the largest inner product."""


class Fit(NamedTuple):
    """Chosen atoms and their amounts, in order of choice."""

    values_NK: Float[Tensor, "N K"]
    indices_NK: Int[Tensor, "N K"]


def fit_compiled(
    x_ND: Float[Tensor, "N D"],
    units_FD: Float[Tensor, "F D"],
    n_steps: int,
    *,
    is_signed: bool,
    residual_threshold: float,
) -> Fit:
    """Chosen unit rows and amounts from the Gram matrix; sums of the small systems in float64."""
    n, f = len(x_ND), len(units_FD)
    values_NK, indices_NK = x_ND.new_zeros(n, n_steps), torch.zeros(n, n_steps, dtype=torch.int64)
    gram_FF = gram(units_FD)
    n_rows = max(1, CHUNK_BYTES // (f * x_ND.element_size()))
    for i in range(0, n, n_rows):
        tensors = (x_ND[i : i + n_rows].contiguous(), values_NK[i : i + n_rows], indices_NK[i : i + n_rows])
        pre_NF = tensors[0] @ units_FD.T
        arrays = [t.numpy() for t in (pre_NF, gram_FF, units_FD, *tensors)]
        share_rows(_fit_rows, len(pre_NF), *arrays, is_signed, residual_threshold)
    return Fit(values_NK, indices_NK)


@compiled(reorder=False)
@no_type_check
def _fit_rows(
    pre: NDArray[Any],
    gram_: NDArray[Any],
    units: NDArray[Any],
    x: NDArray[Any],
    values: NDArray[Any],
    indices: NDArray[Any],
    is_signed: bool,
    threshold: float,
    start: int,
    stop: int,
) -> None:
    n_k = values.shape[1]
    now, maxima = np.empty(pre.shape[1], pre.dtype), np.empty(GROUP, pre.dtype)
    factor, inner = np.zeros((n_k, n_k)), np.zeros(n_k)
    system, amounts = np.zeros((n_k, n_k)), np.zeros(n_k)
    for n in range(start, stop):
        if not np.isfinite(np.sum(x[n])):
            values[n, 0] = np.nan
            continue
        chosen, n_chosen = indices[n], 0
        for t in range(n_k):
            best = _strongest(pre[n], gram_, chosen, amounts, t, now, maxima, is_signed)
            if best < 0 or not _grow(factor, gram_, chosen, t, best):
                break
            chosen[t] = best
            n_chosen = t + 1
            inner[t] = pre[n, best]
            for i in range(n_chosen):
                system[t, i] = gram_[best, chosen[i]]
                system[i, t] = system[t, i]
            _solve(factor, inner, amounts, n_chosen)
            if not is_signed:
                _keep_positive(system, inner, amounts, n_chosen)
            if threshold > 0 and _left(x[n], units, chosen, amounts, n_chosen) < threshold:
                break
        for i in range(n_chosen):
            values[n, i] = amounts[i]


@compiled(reorder=False)
@no_type_check
def _strongest(
    pre: NDArray[Any],
    gram_: NDArray[Any],
    chosen: NDArray[Any],
    amounts: NDArray[Any],
    n: int,
    now: NDArray[Any],
    maxima: NDArray[Any],
    is_signed: bool,
) -> int:
    """The atom closest to what n chosen ones leave; -1 where none is. `now` becomes the inner products with all."""
    now[:] = pre
    for i in range(n - 1):
        amount, shares = now.dtype.type(amounts[i]), gram_[chosen[i]]
        for f in range(len(now)):
            now[f] -= amount * shares[f]
    last = max(n - 1, 0)
    amount = now.dtype.type(amounts[last]) if n > 0 else now.dtype.type(0)
    return take_off(now, gram_[chosen[last]], amount, maxima, is_signed)


@compiled(reorder=False)
@no_type_check
def _grow(factor: NDArray[Any], gram_: NDArray[Any], chosen: NDArray[Any], t: int, best: int) -> bool:
    """Add the row of `best` to the Cholesky factor; False where it depends on the atoms that are there."""
    left = 1.0
    for i in range(t):
        total = float(gram_[best, chosen[i]])
        for s in range(i):
            total -= factor[i, s] * factor[t, s]
        factor[t, i] = total / factor[i, i]
        left -= factor[t, i] ** 2
    if left <= DEPENDENT:
        return False
    factor[t, t] = np.sqrt(left)
    return True


@compiled(reorder=False)
@no_type_check
def _solve(factor: NDArray[Any], inner: NDArray[Any], amounts: NDArray[Any], n: int) -> None:
    """amounts = (L Lᵀ)⁻¹ inner."""
    for i in range(n):
        total = inner[i]
        for s in range(i):
            total -= factor[i, s] * amounts[s]
        amounts[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = amounts[i]
        for s in range(i + 1, n):
            total -= factor[s, i] * amounts[s]
        amounts[i] = total / factor[i, i]


@compiled(reorder=False)
@no_type_check
def _keep_positive(system: NDArray[Any], inner: NDArray[Any], amounts: NDArray[Any], n: int) -> None:
    """Coordinate descent to the best amounts ≥ 0, where the free ones are not."""
    least, scale = 0.0, 0.0
    for i in range(n):
        least, scale = min(least, amounts[i]), max(scale, abs(inner[i]))
        amounts[i] = max(amounts[i], 0.0)
    if least >= 0:
        return
    for _ in range(SWEEPS):
        moved = 0.0
        for i in range(n):
            slope = inner[i]
            for s in range(n):
                slope -= system[i, s] * amounts[s]
            now = max(amounts[i] + slope / system[i, i], 0.0)
            moved = max(moved, abs(now - amounts[i]))
            amounts[i] = now
        if moved <= SETTLED * scale:
            return


@compiled(reorder=False)
@no_type_check
def _left(x: NDArray[Any], units: NDArray[Any], chosen: NDArray[Any], amounts: NDArray[Any], n: int) -> float:
    """Length of the residual."""
    total = 0.0
    for d in range(len(x)):
        rest = float(x[d])
        for i in range(n):
            rest -= amounts[i] * units[chosen[i], d]
        total += rest * rest
    return np.sqrt(total)
