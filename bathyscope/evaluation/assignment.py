"""Cosines between two sets of unit vectors: the largest for each, and the one-to-one assignment with the largest sum.

The assignment is exact up to a stated number of pairs. Beyond, each vector is offered its nearest ones in the other set
only (both ways), and the best assignment among those offers is found: a lower bound that is tight where matches are
good, because a good match is among the nearest. Memory: 8 bytes a pair when exact (2²⁵ pairs: 268 MB), else
4·CHUNK_ROWS·G for a slice of cosines and a few hundred bytes a vector.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """Each vector of the first set with its partner in the second."""

    cosine_F: Float[np.ndarray, " F"]
    """Cosine with the partner; 0 for a vector without one."""
    is_exact: bool
    """Whether all pairs were considered."""


def nearest_cosines(
    a_FD: Float[Tensor, "F D"], b_GD: Float[Tensor, "G D"], *, is_signed: bool
) -> Float[np.ndarray, " F"]:
    """For each row of `a` the largest cosine (largest |cosine| with `is_signed`) with a row of `b`."""
    parts = [slice_NG.max(1).values for _, slice_NG in _cosines(a_FD, b_GD, is_signed=is_signed)]
    return torch.cat(parts).double().numpy()


def matched_cosines(
    a_FD: Float[Tensor, "F D"], b_GD: Float[Tensor, "G D"], *, is_signed: bool, exact_pairs: int, n_nearest: int
) -> Matched:
    """The assignment of rows of `a` to rows of `b`, each used once, with the largest sum of cosines."""
    if len(a_FD) * len(b_GD) <= exact_pairs:
        return Matched(cosine_F=_exact(a_FD, b_GD, is_signed=is_signed), is_exact=True)
    return Matched(cosine_F=_among_nearest(a_FD, b_GD, is_signed=is_signed, n_nearest=n_nearest), is_exact=False)


def _exact(a_FD: Float[Tensor, "F D"], b_GD: Float[Tensor, "G D"], *, is_signed: bool) -> Float[np.ndarray, " F"]:
    from scipy.optimize import linear_sum_assignment

    cosine_FG = np.concatenate([part.numpy() for _, part in _cosines(a_FD, b_GD, is_signed=is_signed)])
    rows, columns = linear_sum_assignment(cosine_FG, maximize=True)
    found_F = np.zeros(len(a_FD))
    found_F[rows] = cosine_FG[rows, columns]
    return found_F


def _among_nearest(
    a_FD: Float[Tensor, "F D"], b_GD: Float[Tensor, "G D"], *, is_signed: bool, n_nearest: int
) -> Float[np.ndarray, " F"]:
    """The best assignment on the sparse graph of offers. Each row may also take a column of its own with cosine 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    row_M, column_M, cosine_M = _offers(a_FD, b_GD, is_signed=is_signed, n_nearest=n_nearest)
    n, m = len(a_FD), len(b_GD)
    row_M, column_M = np.append(row_M, np.arange(n)), np.append(column_M, m + np.arange(n))
    gain_M = np.append(cosine_M, np.zeros(n))
    # a weight of 0 means no edge: gains are lifted by 2, the same for each row, which leaves the best choice as it is
    graph = coo_array((gain_M + 2, (row_M, column_M)), shape=(n, m + n)).tocsr()
    rows, columns = min_weight_full_bipartite_matching(graph, maximize=True)
    found_F = np.zeros(n)
    found_F[rows] = np.asarray(graph[rows, columns]).ravel() - 2
    return found_F


def _offers(
    a_FD: Float[Tensor, "F D"], b_GD: Float[Tensor, "G D"], *, is_signed: bool, n_nearest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and cosine of each pair in which one is among the other's nearest; each pair once."""
    pairs: dict[str, list[Tensor]] = {"row": [], "column": [], "cosine": []}
    for is_swapped, one, other in ((False, a_FD, b_GD), (True, b_GD, a_FD)):
        for start, part_NG in _cosines(one, other, is_signed=is_signed):
            top = part_NG.topk(min(n_nearest, part_NG.shape[1]), dim=1)
            mine = torch.arange(start, start + len(part_NG))[:, None].expand_as(top.indices).flatten()
            theirs = top.indices.flatten()
            pairs["row"].append(theirs if is_swapped else mine)
            pairs["column"].append(mine if is_swapped else theirs)
            pairs["cosine"].append(top.values.flatten())
    row_M, column_M, cosine_M = (torch.cat(parts).numpy() for parts in pairs.values())
    _, first = np.unique(row_M.astype(np.int64) * len(b_GD) + column_M, return_index=True)
    return row_M[first], column_M[first], cosine_M[first].astype(np.float64)


def _cosines(
    a_FD: Float[Tensor, "F D"], b_GD: Float[Tensor, "G D"], *, is_signed: bool
) -> Iterator[tuple[int, Float[Tensor, "N G"]]]:
    """(first row, cosines of a slice of rows of `a` with all of `b`)."""
    for start in range(0, len(a_FD), CHUNK_ROWS):
        part_NG = a_FD[start : start + CHUNK_ROWS] @ b_GD.T
        yield start, part_NG.abs() if is_signed else part_NG
