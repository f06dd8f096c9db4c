"""Blocks of features that are drawn together, because their codes go together."""

import numpy as np

from bathyscope.dictionaries.codes import Codes

LEAST_CORRELATION = 0.1
"""Features that are less correlated than this are left apart."""
OFTEN = 0.05
"""Share of inputs on which a feature fires often: two rarer ones that exclude each other are hardly correlated."""


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
    """Pairs of features whose codes are correlated, most strongly first.

    Features that never fire together may exclude each other; that is looked for among those that fire often.
    """
    from scipy.sparse import csr_array, triu

    n, k = codes.values_NK.shape
    entries = (codes.values_NK.double().flatten().numpy(), codes.indices_NK.flatten().numpy(), np.arange(n + 1) * k)
    table_NF = csr_array(entries, shape=(n, codes.n_features), copy=True)  # what follows works in place
    table_NF.sum_duplicates()
    table_NF.eliminate_zeros()
    mean_F = np.asarray(table_NF.sum(axis=0)).ravel() / n
    variance_F = np.asarray(table_NF.multiply(table_NF).sum(axis=0)).ravel() / n - mean_F**2
    product_FF = (table_NF.T @ table_NF).tocsr()
    often = np.flatnonzero(codes.fires().numpy() >= OFTEN * n)
    one, other = (often[side] for side in np.triu_indices(len(often), k=1))
    met = triu(product_FF, k=1).tocoo()
    first, second = np.concatenate([met.row, one]), np.concatenate([met.col, other])
    product = np.concatenate([met.data, product_FF[often][:, often].toarray()[np.triu_indices(len(often), k=1)]])
    scale = np.sqrt(np.maximum(variance_F[first] * variance_F[second], 1e-300))
    correlation = np.abs(product / n - mean_F[first] * mean_F[second]) / scale
    order = np.argsort(-correlation, kind="stable")
    order = order[correlation[order] >= LEAST_CORRELATION]
    return list(zip(first[order].tolist(), second[order].tolist(), strict=True))
