"""After training, where the truth is known: how well columns correspond to concepts, singly and in blocks.

MCC = mean over concepts of |corr(code, change)| in the one-to-one assignment with the largest sum (Hungarian).
A concept without a column counts 0, a column without a concept nothing.
Block-MCC asks less: which block a column belongs to, and how well a block's changes are linear in its columns. What is
never told apart can be right as a block and wrong as a concept; with blocks of two, plain MCC hardly notices.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError


class Matching(NamedTuple):
    """Concepts and their columns."""

    correlation_C: Float[np.ndarray, " C"]
    """|corr| with the column assigned to each concept; 0 without one."""
    column_C: np.ndarray
    """Which column that is; -1 for none."""

    @property
    def mcc(self) -> float:
        """Mean over concepts."""
        return float(self.correlation_C.mean())


def match_concepts(codes_PF: Float[Tensor, "P F"], changes_PC: Float[Tensor, "P C"]) -> Matching:
    """The best one-to-one assignment of columns to concepts; the numbers of both may differ.

    A column or concept that never varies correlates with nothing.
    """
    correlation_CF = np.abs(correlations(changes_PC, codes_PF))
    return _assigned(correlation_CF, correlation_CF)


def block_mcc(
    codes_PF: Float[Tensor, "P F"], changes_PC: Float[Tensor, "P C"], blocks: Sequence[Sequence[int]]
) -> Float[np.ndarray, " C"]:
    """For each concept the multiple correlation of its change with the columns given to its block.

    Every block gets as many columns as it has concepts: those assigned by how well each column is linear in the
    block's changes. `blocks` are lists of concepts, every concept in one. With blocks of one this is the MCC.
    """
    n_concepts = changes_PC.shape[1]
    if sorted(c for block in blocks for c in block) != list(range(n_concepts)):
        raise ConfigError(f"blocks {[list(block) for block in blocks]} do not hold each of {n_concepts} concepts once")
    fit_BF = np.stack([_multiple(codes_PF, changes_PC[:, list(block)]) for block in blocks])
    block_C = np.array([next(b for b, block in enumerate(blocks) if c in block) for c in range(n_concepts)])
    column_C = _assigned(fit_BF[block_C], fit_BF[block_C]).column_C
    found_C = np.zeros(n_concepts)
    for block in blocks:
        mine = [int(column_C[c]) for c in block if column_C[c] >= 0]
        if mine:
            found_C[list(block)] = _multiple(changes_PC[:, list(block)], codes_PF[:, mine])
    return found_C


def correlations(a_PA: Float[Tensor, "P A"], b_PB: Float[Tensor, "P B"]) -> Float[np.ndarray, "A B"]:
    """Pearson's correlation of each column of `a` with each of `b`; 0 where one never varies."""
    return (_standard(a_PA).T @ _standard(b_PB)).numpy()


def _assigned(gain_CF: np.ndarray, value_CF: np.ndarray) -> Matching:
    from scipy.optimize import linear_sum_assignment

    concepts, columns = linear_sum_assignment(gain_CF, maximize=True)
    correlation_C, column_C = np.zeros(len(gain_CF)), np.full(len(gain_CF), -1)
    correlation_C[concepts], column_C[concepts] = value_CF[concepts, columns], columns
    return Matching(correlation_C, column_C)


def _multiple(of_PA: Tensor, by_PB: Tensor) -> np.ndarray:
    """Multiple correlation of each column of `of` with all of `by`, in 0 … 1."""
    target_PA, basis_PB = _standard(of_PA), _standard(by_PB)
    left_PM, value_M, _ = torch.linalg.svd(basis_PB, full_matrices=False)
    left_PM = left_PM[:, value_M > 1e-9 * value_M.max().clamp_min(1e-300)]
    return (left_PM.T @ target_PA).norm(dim=0).clamp(0, 1).numpy()


def _standard(values_PA: Tensor) -> Tensor:
    """Columns centred and of length 1, float64; 0 where a column does not vary."""
    wide_PA = values_PA.detach().cpu().double()
    wide_PA = wide_PA - wide_PA.mean(0)
    length_A = wide_PA.norm(dim=0)
    least = 1e-12 * values_PA.detach().cpu().double().norm(dim=0).clamp_min(1e-300)
    return torch.where(length_A > least, wide_PA / length_A.clamp_min(1e-300), 0.0)
