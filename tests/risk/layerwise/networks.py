"""Small networks, and what long sampling says of them."""

import torch

from bathyscope.risk.layerwise.moments import Singles
from bathyscope.risk.layerwise.network import Dense, Network


def small(activation="relu", *, width=6, n_hidden=2, seed=0, scale=1.0):
    """Layers with biases, so that nothing is symmetric."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for _ in range(n_hidden):
        W_DI = torch.randn(width, width, generator=generator, dtype=torch.float64) * scale * (2 / width) ** 0.5
        layers.append(Dense(W_DI, 0.3 * torch.randn(width, generator=generator, dtype=torch.float64), activation))
    return Network(tuple(layers))


def central(values_ND):
    """Cumulants of single columns, and the matrices κ_ij, κ_iij, κ_iijj and κ_iiij."""
    x = values_ND.double() - values_ND.double().mean(0)
    n = len(x)
    pairs = x.T @ x / n
    variance = pairs.diagonal()
    iij = (x**2).T @ x / n
    iijj = (x**2).T @ (x**2) / n - torch.outer(variance, variance) - 2 * pairs**2
    iiij = (x**3).T @ x / n - 3 * variance[:, None] * pairs
    single = Singles(values_ND.double().mean(0), variance, iij.diagonal(), iijj.diagonal())
    return single, pairs, iij, iijj, iiij
