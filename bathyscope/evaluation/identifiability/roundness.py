"""The metric in which shifts without structure are round, estimated so that a few huge pairs do not decide it.

The scatter of a multivariate t distribution with ν = 2 degrees of freedom, by its fixed point
    w_p = (ν + M) / (ν + (y_p - m)ᵀ S⁻¹ (y_p - m)),   m = Σ w y / Σ w,   S = Σ w (y - m)(y - m)ᵀ / P
(Kent and Tyler 1991). For every elliptical law it estimates the covariance up to a factor, whatever the tails; a sample
covariance of heavy-tailed pairs is that of its largest few.
"""

import torch
from jaxtyping import Float
from torch import Tensor

FREEDOM, ROUNDS, TOLERANCE = 2.0, 30, 1e-3
MOST_ROWS = 8192
"""Pairs that the scatter is estimated from, evenly spaced."""


def whitener(coordinates_PM: Float[Tensor, "P M"]) -> Float[Tensor, "M K"]:
    """What makes coordinates round: `(y - m) @ W` has a scatter of 1 up to a factor. float64.

    Directions without variance are left out (K < M).
    """
    rows_PM = coordinates_PM.double()[:: -(-len(coordinates_PM) // MOST_ROWS)]
    centred_PM = rows_PM - rows_PM.mean(0)
    first_MK = _root(centred_PM.T @ centred_PM / len(centred_PM))
    y_PK = centred_PM @ first_MK
    k = y_PK.shape[1]
    scatter_KK = torch.eye(k, dtype=torch.float64)
    middle_K = torch.zeros(k, dtype=torch.float64)
    for _ in range(ROUNDS):
        left_PK = y_PK - middle_K
        distance_P = (left_PK @ torch.linalg.inv(scatter_KK) * left_PK).sum(1)
        weight_P = (FREEDOM + k) / (FREEDOM + distance_P)
        middle_K = weight_P @ y_PK / weight_P.sum()
        left_PK = y_PK - middle_K
        moved_KK = (left_PK * weight_P[:, None]).T @ left_PK / len(y_PK)
        change = (moved_KK - scatter_KK).norm() / scatter_KK.norm()
        scatter_KK = moved_KK
        if float(change) < TOLERANCE:
            break
    return first_MK @ _root(scatter_KK)


def _root(moment_MM: Tensor) -> Tensor:
    value_M, vector_MM = torch.linalg.eigh(moment_MM)
    kept = value_M > 1e-9 * value_M.max().clamp_min(1e-300)
    return vector_MM[:, kept] / value_M[kept].sqrt()
