"""Mean correlation coefficient (MCC): how well learnt latents match known factors, up to order, sign and scale.

MCC = 1/Z Σ_z |corr(code of the latent assigned to z, factor z)|,  the one-to-one assignment with the largest sum
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorrelationMatch:
    """Which latent stands for which factor, and how well."""

    mcc: float
    """Mean over factors; a factor without a latent of its own counts 0."""
    latent_Z: Int[np.ndarray, " Z"]
    """The latent of each factor; -1 for none."""
    correlation_Z: Float[np.ndarray, " Z"]
    """Its Pearson correlation with the factor, with its sign."""
    linear_r2: float
    """Share of the factors' variance that a linear map of all latents explains (fitted on the same rows)."""


def match_factors(codes_NF: Float[Tensor, "N F"], factors_NZ: Float[Tensor, "N Z"]) -> CorrelationMatch:
    """The best assignment of latents to factors. A latent that does not vary correlates with nothing.

    `linear_r2` near 1 with a low `mcc` says that the factors are there but mixed. Raises ConfigError for fewer than
    three rows or a factor that does not vary.
    """
    from scipy.optimize import linear_sum_assignment

    if len(codes_NF) < 3 or len(codes_NF) != len(factors_NZ):
        raise ConfigError(f"{len(codes_NF)} codes and {len(factors_NZ)} rows of factors: expected as many, at least 3")
    code_NF, factor_NZ = _standard(codes_NF), _standard(factors_NZ)
    if bool((factor_NZ == 0).all(0).any()):
        raise ConfigError("a factor is constant in these rows: nothing can correlate with it")
    correlation_ZF = (factor_NZ.T @ code_NF / len(code_NF)).numpy()
    rows, columns = linear_sum_assignment(np.abs(correlation_ZF), maximize=True)
    latent_Z, found_Z = np.full(len(correlation_ZF), -1), np.zeros(len(correlation_ZF))
    latent_Z[rows], found_Z[rows] = columns, correlation_ZF[rows, columns]
    return CorrelationMatch(
        mcc=float(np.abs(found_Z).mean()),
        latent_Z=latent_Z,
        correlation_Z=found_Z,
        linear_r2=_r2(code_NF, factor_NZ),
    )


def block_r2(
    codes_NZ: Float[Tensor, "N Z"], factors_NZ: Float[Tensor, "N Z"], blocks: tuple[tuple[int, ...], ...]
) -> float:
    """Mean over blocks: share of the variance of a block's factors that its own latents explain linearly.

    For factors that always change together: within a block latents may be mixed, across blocks they may not. Latent z
    belongs to factor z, as known targets have it; fitted on the same rows.
    """
    code_NZ, factor_NZ = _standard(codes_NZ), _standard(factors_NZ)
    return float(np.mean([_r2(code_NZ[:, list(block)], factor_NZ[:, list(block)]) for block in blocks]))


def _r2(x_NF: Tensor, y_NZ: Tensor) -> float:
    """Share of the variance of standardised y that a linear map of standardised x explains."""
    missed_NZ = y_NZ - x_NF @ torch.linalg.lstsq(x_NF, y_NZ, driver="gelsd").solution
    return float(1 - missed_NZ.square().mean())


def _standard(x_NF: Tensor) -> Tensor:
    """Columns with mean 0 and variance 1 in float64; 0 where a column is constant."""
    centred_NF = x_NF.double() - x_NF.double().mean(0)
    spread_F = centred_NF.square().mean(0).sqrt()
    return torch.where(spread_F > 1e-9, centred_NF / spread_F.clamp_min(1e-9), 0.0)
