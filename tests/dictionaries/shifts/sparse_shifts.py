"""A small world of shifts for tests: sparse changes along directions that are neither orthogonal nor equally long."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def sparse_shifts(n: int = 5, d: int = 8, n_pairs: int = 2000, *, share: float = 0.3, seed: int = 0):
    """Shifts [P, D], changes [P, C] and directions [C, D]; each concept changes in `share` of the pairs.

    Directions are the same for every seed.
    """
    generator = torch.Generator().manual_seed(1000 + seed)
    directions_CD = torch.randn(n, d, generator=torch.Generator().manual_seed(77))
    directions_CD *= torch.linspace(0.5, 2, n)[:, None]
    changes_PC = torch.randn(n_pairs, n, generator=generator)
    changes_PC *= torch.rand(n_pairs, n, generator=generator) < share
    changes_PC[:, 0] += 0.1 * (changes_PC == 0).all(1)  # no pair has equal sides
    return changes_PC @ directions_CD, changes_PC, directions_CD


def mcc(codes_PF: Tensor, changes_PC: Tensor) -> float:
    """Mean |correlation| of concepts with their columns in the best assignment, by its definition."""
    both = np.abs(np.corrcoef(codes_PF.double().numpy().T, changes_PC.double().numpy().T))
    cross = both[: codes_PF.shape[1], codes_PF.shape[1] :]
    rows, columns = linear_sum_assignment(cross, maximize=True)
    return float(cross[rows, columns].sum() / changes_PC.shape[1])
