"""Losses on the codes of pairs that differ in few factors. `paired.py` says which go together."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def known_targets_loss(
    before_PZ: Float[Tensor, "P Z"], after_PZ: Float[Tensor, "P Z"], offset_PZ: Float[Tensor, "P Z"]
) -> Float[Tensor, ""]:
    """mean_p ‖f(x) + b' - f(x̃)‖², as a share of mean_p ‖b'‖²: 1 for a constant code, 0 for a perfect one."""
    missed_PZ = before_PZ + offset_PZ - after_PZ
    return missed_PZ.square().sum() / offset_PZ.square().sum().clamp_min(1e-12)


def sparse_change(before_PZ: Float[Tensor, "P Z"], after_PZ: Float[Tensor, "P Z"]) -> Float[Tensor, ""]:
    """mean_p Σ_z |h̃_z - h_z|."""
    return (after_PZ - before_PZ).abs().sum(1).mean()


def contrast(
    before_PZ: Float[Tensor, "P Z"], after_PZ: Float[Tensor, "P Z"], *, temperature: float
) -> Float[Tensor, ""]:
    """Mean -log p(own partner), p ∝ exp(-‖h_i - h̃_j‖₁ / τ) over the batch; log P for a constant code.

    The distance is L1, as changes are sparse (contrastive learning inverts the data's law up to a permutation when its
    distance is the one of the positive pairs: Zimmermann et al. 2021, arXiv 2102.08850).
    """
    distance_PP = torch.cdist(before_PZ, after_PZ, p=1)
    partner_P = torch.arange(len(before_PZ), device=before_PZ.device)
    return nn.functional.cross_entropy(-distance_PP / temperature, partner_P)


def standardised(
    before_PZ: Float[Tensor, "P Z"], after_PZ: Float[Tensor, "P Z"]
) -> tuple[Float[Tensor, "P Z"], Float[Tensor, "P Z"]]:
    """Both with mean 0 and variance 1 of each latent over the batch of both."""
    both_NZ = torch.cat([before_PZ, after_PZ])
    mean_Z, spread_Z = both_NZ.mean(0), (both_NZ.var(0, correction=0) + 1e-8).sqrt()
    return (before_PZ - mean_Z) / spread_Z, (after_PZ - mean_Z) / spread_Z


class SmallDecoder(nn.Module):
    """Codes to images of 16 × 16 pixels, an MLP: only the term against collapse needs it, so it is not kept."""

    def __init__(self, n_latents: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_latents, 128), nn.LeakyReLU(0.1), nn.Linear(128, 256), nn.LeakyReLU(0.1), nn.Linear(256, 768)
        )

    def loss(self, codes_NZ: Tensor, image_NCHW: Tensor) -> Tensor:
        """Squared error as a share of the images' variation."""
        small_NE = nn.functional.adaptive_avg_pool2d(image_NCHW, 16).flatten(1)
        centred_NE = small_NE - small_NE.mean(0)
        return (self.layers(codes_NZ) - centred_NE).square().sum() / centred_NE.square().sum().clamp_min(1e-12)
