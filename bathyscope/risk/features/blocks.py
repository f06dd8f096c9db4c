"""Blocks of features that are drawn together, because their codes go together."""

import numpy as np

from bathyscope.dictionaries.codes import Codes

LEAST_CORRELATION = 0.1
"""Features that are less correlated than this are left apart."""


def correlated_blocks(codes: Codes, size: int) -> list[list[int]]:
    """Every feature once, in blocks of at most `size`; size 1: each alone.

    Blocks are joined in order of the largest absolute correlation between two of their features' codes.
    """
    block_of = list(range(codes.n_features))
    members = {feature: [feature] for feature in block_of}
    for first, second in _pairs(codes) if size > 1 else []:
        one, other = block_of[first], block_of[second]
        if one == other or len(members[one]) + len(members[other]) > size:
            continue
        for feature in members.pop(other):
            block_of[feature] = one
            members[one].append(feature)
    return [sorted(features) for features in members.values()]


def _pairs(codes: Codes) -> list[tuple[int, int]]:
    """Pairs of features whose codes are correlated, most strongly first; pairs that never fire together are none."""
    from scipy.sparse import csr_array, triu

    n, k = codes.values_NK.shape
    entries = (codes.values_NK.double().flatten().numpy(), codes.indices_NK.flatten().numpy(), np.arange(n + 1) * k)
    table_NF = csr_array(entries, shape=(n, codes.n_features))
    table_NF.sum_duplicates()
    mean_F = np.asarray(table_NF.sum(axis=0)).ravel() / n
    variance_F = np.asarray(table_NF.multiply(table_NF).sum(axis=0)).ravel() / n - mean_F**2
    both = triu(table_NF.T @ table_NF, k=1).tocoo()
    scale = np.sqrt(np.maximum(variance_F[both.row] * variance_F[both.col], 1e-300))
    correlation = np.abs(both.data / n - mean_F[both.row] * mean_F[both.col]) / scale
    order = np.argsort(-correlation, kind="stable")
    order = order[correlation[order] >= LEAST_CORRELATION]
    return list(zip(both.row[order].tolist(), both.col[order].tolist(), strict=True))
