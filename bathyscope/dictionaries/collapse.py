"""Collapse: latents that carry nothing, or twice the same. Few losses on pairs of inputs rule it out by themselves."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SILENT = 1e-2
"""A latent whose standard deviation is below this share of the largest one carries nothing."""
ALIKE = 0.95
"""Two latents with a larger |correlation| are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """What is left of a code of Z latents."""

    n_silent: int
    """Latents that hardly vary."""
    n_copies: int
    """Latents that follow an earlier one."""
    effective_rank: float
    """exp of the entropy of the correlation matrix's eigenvalues: Z for independent latents, 1 for copies of one."""
    spread: float
    """Standard deviation of the latent that varies most, in units of the code: near 0 after shrinking."""

    @property
    def is_collapsed(self) -> bool:
        """Whether at least one latent is lost."""
        return self.n_silent + self.n_copies > 0


def collapse(codes_NZ: Float[Tensor, "N Z"]) -> Collapse:
    """How far codes have collapsed. A constant code has all latents silent and effective rank 0."""
    codes_NZ = codes_NZ.double() - codes_NZ.double().mean(0)
    spread_Z = codes_NZ.square().mean(0).sqrt()
    largest = float(spread_Z.max())
    lives_Z = spread_Z > max(SILENT * largest, 1e-9)
    living_NM = codes_NZ[:, lives_Z] / spread_Z[lives_Z]
    correlation_MM = living_NM.T @ living_NM / max(len(codes_NZ), 1)
    copies_M = (correlation_MM.abs().tril(-1) > ALIKE).any(1)
    share_M = torch.linalg.eigvalsh(correlation_MM).clamp_min(0)
    share_M = share_M[share_M > 0] / share_M.sum().clamp_min(1e-30)
    rank = float(torch.exp(-(share_M * share_M.log()).sum())) if len(share_M) else 0.0
    return Collapse(n_silent=int((~lives_Z).sum()), n_copies=int(copies_M.sum()), effective_rank=rank, spread=largest)
