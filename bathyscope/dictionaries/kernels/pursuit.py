"""Matching pursuit (Mallat and Zhang 1993): the closest atom's share is taken off, again and again.

r = x;  n_steps times: j = argmax_f ⟨r, a_f⟩ (of |⟨r, a_f⟩| if signed), v = ⟨r, a_j⟩, r ← r - v·a_j
Differentiable in x and in the atoms with the choice of atoms fixed: gradients run through the whole chain of inner
products. The compiled path keeps ⟨r, a_f⟩ of all atoms up to date with one row of their Gram matrix per step.
"""

from itertools import pairwise
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.rows import by_feature_compiled
from bathyscope.dictionaries.kernels.threads import share_rows

CHUNK_BYTES = 16 << 20
"""Size of the [rows, F] inner products, and of the [rows, K, D] gradient terms, held at once."""
GRAM_FEATURES = 8192
"""Most atoms whose Gram matrix is held (256 MB in float32); more take the plain path."""
GROUP = 64
"""Columns compared side by side in the search for the largest."""


class Steps(NamedTuple):
    """What each step took off."""

    values_NK: Float[Tensor, "N K"]
    """v of each step; 0 after the last one. NaN in the first step of a token that is not finite."""
    indices_NK: Int[Tensor, "N K"]
    """Atom of each step, an atom may come again; 0 after the last one."""
    residual_ND: Float[Tensor, "N D"]
    """What is left."""


class Limits(NamedTuple):
    """How atoms are chosen and when a token is done."""

    n_steps: int
    """Most steps of a token."""
    is_signed: bool = False
    """Whether atoms may be taken with a negative amount; if not, a token without positive inner product is done."""
    residual_threshold: float = 0.0
    """A token is done after a step that leaves a residual shorter than this."""
    stops_on_duplicate: bool = False
    """Whether a token is done after a step that took an atom again."""


def pursue(x_ND: Float[Tensor, "N D"], atoms_FD: Float[Tensor, "F D"], limits: Limits) -> Steps:
    """The steps of each token: compiled on a CPU where the Gram matrix pays, else plain PyTorch in slices."""
    n, f = len(x_ND), len(atoms_FD)
    if engine(x_ND) == "compiled" and f <= GRAM_FEATURES and n * limits.n_steps >= f:
        return Steps(*_Pursue.apply(x_ND, atoms_FD, limits))
    n_rows = max(1, CHUNK_BYTES // (4 * f))
    parts = [pursue_reference(x_ND[i : i + n_rows], atoms_FD, limits) for i in range(0, max(n, 1), n_rows)]
    return Steps(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def pursue_reference(x_ND: Float[Tensor, "N D"], atoms_FD: Float[Tensor, "F D"], limits: Limits) -> Steps:
    """The definition, differentiated by autograd. Holds [N, F], and [N, D] per step for the gradient."""
    residual_ND = x_ND
    values, indices = list[Tensor](), list[Tensor]()
    is_going_N = torch.ones(len(x_ND), dtype=torch.bool, device=x_ND.device)
    for _ in range(limits.n_steps):
        with torch.no_grad():
            pre_NF = residual_ND @ atoms_FD.T
            best_N = (pre_NF.abs() if limits.is_signed else pre_NF).argmax(1)
        rows_ND = atoms_FD[best_N]
        value_N = torch.linalg.vecdot(residual_ND, rows_ND)
        takes_N = is_going_N & ((value_N != 0) if limits.is_signed else ~(value_N <= 0))
        value_N, best_N = torch.where(takes_N, value_N, 0), torch.where(takes_N, best_N, 0)
        residual_ND = residual_ND - value_N[:, None] * rows_ND
        is_going_N = takes_N & value_N.isfinite() & (residual_ND.norm(dim=1) >= limits.residual_threshold)
        if limits.stops_on_duplicate and indices:
            before_NT = (torch.stack(indices, 1) == best_N[:, None]) & (torch.stack(values, 1) != 0)
            is_going_N = is_going_N & ~before_NT.any(1)
        values.append(value_N)
        indices.append(best_N)
    return Steps(torch.stack(values, 1), torch.stack(indices, 1), residual_ND)


def merged(steps: Steps) -> tuple[Float[Tensor, "N K"], Int[Tensor, "N K"]]:
    """Values and atoms with each atom once per token: the amounts of all its steps summed in the first of them.

    Differentiable in the values; freed places are value 0 at atom 0.
    """
    n, k = steps.values_NK.shape
    n_rows = max(1, CHUNK_BYTES // max(1, k * k))
    values, indices = list[Tensor](), list[Tensor]()
    for i in range(0, max(n, 1), n_rows):
        part_NK, atoms_NK = steps.values_NK[i : i + n_rows], steps.indices_NK[i : i + n_rows]
        is_step_NK = part_NK.detach() != 0
        same_NKK = (atoms_NK[:, :, None] == atoms_NK[:, None, :]) & is_step_NK[:, None, :]
        first_NK = same_NKK.to(torch.uint8).argmax(2)
        is_first_NK = is_step_NK & (first_NK == torch.arange(k, device=first_NK.device))
        values.append(torch.zeros_like(part_NK).scatter_add(1, first_NK, part_NK))
        indices.append(torch.where(is_first_NK, atoms_NK, 0))
    return torch.cat(values), torch.cat(indices)


def gram(rows_FD: Float[Tensor, "F D"], *, n_blocks: int = 8) -> Float[Tensor, "F F"]:
    """`rows @ rowsᵀ`, its lower triangle copied from the upper one."""
    f = len(rows_FD)
    out_FF = rows_FD.new_empty(f, f)
    bounds = [f * i // n_blocks for i in range(n_blocks + 1)]
    for start, stop in pairwise(bounds):
        torch.mm(rows_FD[start:stop], rows_FD[start:].T, out=out_FF[start:stop, start:])
        out_FF[stop:, start:stop] = out_FF[start:stop, stop:].T
    return out_FF


class _Pursue(torch.autograd.Function):
    """Forward with the Gram matrix; backward retraces the steps from the residual, which is all that is kept."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, atoms_FD: Tensor, limits: Limits) -> tuple[Tensor, Tensor, Tensor]:
        n, f = len(x_ND), len(atoms_FD)
        atoms_FD = atoms_FD.detach().contiguous()
        residual_ND = x_ND.detach().clone(memory_format=torch.contiguous_format)
        values_NK = x_ND.new_zeros(n, limits.n_steps)
        indices_NK = torch.zeros(n, limits.n_steps, dtype=torch.int64)
        gram_FF = gram(atoms_FD)
        n_rows = max(1, CHUNK_BYTES // (f * x_ND.element_size()))
        buffer_NF = x_ND.new_empty(min(n, n_rows), f)
        how = (limits.is_signed, residual_ND.numpy().dtype.type(limits.residual_threshold), limits.stops_on_duplicate)
        for i in range(0, n, n_rows):
            tensors = [t[i : i + n_rows] for t in (residual_ND, values_NK, indices_NK)]
            pre_NF = torch.mm(tensors[0], atoms_FD.T, out=buffer_NF[: len(tensors[0])])
            arrays = [t.numpy() for t in (pre_NF, gram_FF, atoms_FD, *tensors)]
            share_rows(_pursue_rows, len(pre_NF), *arrays, *how)
        ctx.save_for_backward(atoms_FD, values_NK, indices_NK, residual_ND)
        ctx.mark_non_differentiable(indices_NK)
        ctx.set_materialize_grads(False)
        return values_NK, indices_NK, residual_ND

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        atoms_FD, values_NK, indices_NK, residual_ND = ctx.saved_tensors
        of_values_NK, _, of_residual_ND = gradients
        slope_NK = torch.zeros_like(values_NK) if of_values_NK is None else of_values_NK.contiguous()
        grad_x_ND = torch.zeros_like(residual_ND) if of_residual_ND is None else of_residual_ND.clone()
        grad_atoms_FD = torch.zeros_like(atoms_FD) if ctx.needs_input_grad[1] else None
        n_rows = max(1, CHUNK_BYTES // (values_NK.shape[1] * atoms_FD.shape[1] * residual_ND.element_size()))
        for i in range(0, len(values_NK), n_rows):
            of = slice(i, i + n_rows)
            values, indices = values_NK[of], indices_NK[of]
            terms = residual_ND.new_empty(values.numel() if grad_atoms_FD is not None else 0, atoms_FD.shape[1])
            tensors = (values, indices, atoms_FD, residual_ND[of].clone(), slope_NK[of], grad_x_ND[of], terms)
            share_rows(_retrace_rows, len(values), *(t.numpy() for t in tensors))
            if grad_atoms_FD is not None:
                pairs = by_feature_compiled(values, indices, len(atoms_FD))
                arrays = (pairs.offsets, pairs.pairs, terms.numpy(), grad_atoms_FD.numpy())
                share_rows(_add_terms, len(atoms_FD), *arrays)
        return grad_x_ND if ctx.needs_input_grad[0] else None, grad_atoms_FD, None


@compiled(reorder=True)
@no_type_check
def _pursue_rows(
    pre: NDArray[Any],
    gram_: NDArray[Any],
    atoms: NDArray[Any],
    residual: NDArray[Any],
    values: NDArray[Any],
    indices: NDArray[Any],
    is_signed: bool,
    threshold: float,
    stops_on_duplicate: bool,
    start: int,
    stop: int,
) -> None:
    n_d = atoms.shape[1]
    maxima = np.empty(GROUP, pre.dtype)
    for n in range(start, stop):
        row, rest = pre[n], residual[n]
        square = pre.dtype.type(0)
        for d in range(n_d):
            square += rest[d] * rest[d]
        if not np.isfinite(square):
            values[n, 0] = np.nan
            rest[:] = np.nan
            continue
        value = pre.dtype.type(0)
        best = 0
        for t in range(values.shape[1]):
            best = take_off(row, gram_[best], value, maxima, is_signed)
            if best < 0:
                break
            atom = atoms[best]
            value = pre.dtype.type(0)
            for d in range(n_d):
                value += rest[d] * atom[d]
            if value == 0 or (value < 0 and not is_signed):
                break
            square = pre.dtype.type(0)
            for d in range(n_d):
                rest[d] -= value * atom[d]
                square += rest[d] * rest[d]
            values[n, t] = value
            indices[n, t] = best
            if np.sqrt(square) < threshold or (stops_on_duplicate and _is_among(best, indices[n], t)):
                break


@compiled(reorder=False)
@no_type_check
def take_off(row: NDArray[Any], shares: NDArray[Any], value: float, maxima: NDArray[Any], is_signed: bool) -> int:
    """`row -= value · shares`; then the column of the largest entry (in size if signed), the lowest of equal ones.

    -1 where that entry is not above 0. `maxima` is scratch of length GROUP.
    """
    maxima[:] = 0
    if is_signed:
        _subtract_and_compare_sizes(row, shares, value, maxima)
    else:
        _subtract_and_compare(row, shares, value, maxima)
    largest, best = maxima[0], len(row)
    for j in range(GROUP):
        largest = max(largest, maxima[j])
    if largest <= 0:
        return -1
    for j in range(GROUP):
        if maxima[j] == largest:
            f = j
            while f < len(row) and row[f] != largest and not (is_signed and -row[f] == largest):
                f += GROUP
            best = min(best, f)
    return best


@compiled(reorder=False)
@no_type_check
def _subtract_and_compare(row: NDArray[Any], shares: NDArray[Any], value: float, maxima: NDArray[Any]) -> None:
    """maxima[j] = largest of maxima[j] and columns j, j + GROUP, …, side by side so that it is vectorised."""
    n_full = len(row) - len(row) % GROUP
    for base in range(0, n_full, GROUP):
        for j in range(GROUP):
            entry = row[base + j] - value * shares[base + j]
            row[base + j] = entry
            maxima[j] = entry if entry > maxima[j] else maxima[j]
    for f in range(n_full, len(row)):
        row[f] -= value * shares[f]
        maxima[f - n_full] = max(maxima[f - n_full], row[f])


@compiled(reorder=False)
@no_type_check
def _subtract_and_compare_sizes(row: NDArray[Any], shares: NDArray[Any], value: float, maxima: NDArray[Any]) -> None:
    """The same with absolute values."""
    n_full = len(row) - len(row) % GROUP
    for base in range(0, n_full, GROUP):
        for j in range(GROUP):
            entry = row[base + j] - value * shares[base + j]
            row[base + j] = entry
            maxima[j] = max(maxima[j], abs(entry))
    for f in range(n_full, len(row)):
        row[f] -= value * shares[f]
        maxima[f - n_full] = max(maxima[f - n_full], abs(row[f]))


@compiled(reorder=False)
@no_type_check
def _is_among(best: int, indices: NDArray[Any], n: int) -> bool:
    found = False
    for t in range(n):
        found = found or indices[t] == best
    return found


@compiled(reorder=True)
@no_type_check
def _retrace_rows(
    values: NDArray[Any],
    indices: NDArray[Any],
    atoms: NDArray[Any],
    residual: NDArray[Any],
    slope: NDArray[Any],
    gradient: NDArray[Any],
    terms: NDArray[Any],
    start: int,
    stop: int,
) -> None:
    """From ∂/∂r after the last step (in `gradient`) to ∂/∂x, and each step's part of ∂/∂atom.

    With g after and h before a step, v its value and s = ∂/∂v: δ = s - ⟨g, a⟩, ∂/∂a = δ·r_before - v·g, h = g + δ·a.
    """
    n_k, n_d = values.shape[1], atoms.shape[1]
    for n in range(start, stop):
        rest, back = residual[n], gradient[n]
        for t in range(n_k - 1, -1, -1):
            value = values[n, t]
            if value != 0:
                atom = atoms[indices[n, t]]
                along = values.dtype.type(0)
                for d in range(n_d):
                    along += back[d] * atom[d]
                delta = slope[n, t] - along
                if len(terms) > 0:
                    term = terms[n * n_k + t]
                    for d in range(n_d):
                        rest[d] += value * atom[d]
                        term[d] = delta * rest[d] - value * back[d]
                for d in range(n_d):
                    back[d] += delta * atom[d]


@compiled(reorder=False)
@no_type_check
def _add_terms(
    offsets: NDArray[Any], pairs: NDArray[Any], terms: NDArray[Any], out: NDArray[Any], start: int, stop: int
) -> None:
    for f in range(start, stop):
        to = out[f]
        for i in range(offsets[f], offsets[f + 1]):
            term = terms[pairs[i]]
            for d in range(len(to)):
                to[d] += term[d]
