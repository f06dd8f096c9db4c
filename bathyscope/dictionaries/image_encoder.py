"""A small convolutional encoder for images: what is where, then a code.

maps = conv stack,  p_k = softmax over positions of map k,  (x, y)_k = Σ p_k · position,  v_k = Σ p_k · features
code = linear(all x, y, v) + MLP(all x, y, v)

The expected position under a softmax (Levine et al. 2016, arXiv 1504.00702, spatial softmax) is exact to fractions of
a pixel, which strides and pooling are not; the attended features carry colour. Runs at thousands of images a second
and core. Knows nothing of what a code should mean.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.errors import ConfigError

GAIN = 10.0
"""Maps are multiplied by this before the softmax, so that it singles out something from the first step."""
REACH = 5.0
"""Positions run from -REACH to REACH: factors and guesses of objective A have comparable sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoderSettings:
    """Settings of `ImageEncoder`."""

    n_latents: int = 6
    """Entries of the code."""
    n_maps: int = 8
    """Maps, each of which looks at one thing."""
    n_channels: int = 16
    """Channels of the convolutions."""
    n_hidden: int = 64
    """Hidden units of the MLP."""

    def __post_init__(self) -> None:
        if min(self.n_latents, self.n_maps, self.n_channels, self.n_hidden) < 1:
            raise ConfigError("n_latents, n_maps, n_channels and n_hidden are at least 1")


class ImageEncoder(nn.Module):
    """Images [N, 3, H, W] in [0, 1] to codes [N, Z]. H and W are even and may differ from image to image size."""

    def __init__(self, settings: ImageEncoderSettings, *, generator: torch.Generator) -> None:
        super().__init__()
        c, k = settings.n_channels, settings.n_maps
        self.settings = settings
        self.look = nn.Sequential(
            nn.Conv2d(3, c, 4, stride=2, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(c, c, 1), nn.LeakyReLU(0.1)
        )
        self.maps = nn.Conv2d(c, k, 1)
        self.straight = nn.Linear(k * (2 + c), settings.n_latents)
        self.bent = nn.Sequential(
            nn.Linear(k * (2 + c), settings.n_hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(settings.n_hidden, settings.n_latents),
        )
        _draw(self, generator)

    def forward(self, image_NCHW: Float[Tensor, "N C H W"]) -> Float[Tensor, "N Z"]:
        """Codes."""
        features_NCHW = self.look(2 * (1 - image_NCHW))  # white ground is 0
        n, _, h, w = features_NCHW.shape
        share_NKM = (GAIN * self.maps(features_NCHW)).flatten(2).softmax(-1)
        position_M2 = _positions(h, w, like=image_NCHW)
        seen_NMC = features_NCHW.flatten(2).transpose(1, 2)
        found_NKE = torch.cat([share_NKM @ position_M2, share_NKM @ seen_NMC], dim=2)
        found_NE = found_NKE.reshape(n, -1)
        return self.straight(found_NE) + self.bent(found_NE)


def _positions(h: int, w: int, *, like: Tensor) -> Tensor:
    """(x, y) of each place of a map, [H·W, 2]."""
    y_H = ((torch.arange(h, device=like.device, dtype=like.dtype) + 0.5) / h * 2 - 1) * REACH
    x_W = ((torch.arange(w, device=like.device, dtype=like.dtype) + 0.5) / w * 2 - 1) * REACH
    return torch.stack([x_W.repeat(h), y_H.repeat_interleave(w)], dim=1)


@torch.no_grad()
def _draw(module: nn.Module, generator: torch.Generator) -> None:
    """Start weights from the generator: uniform in ±1/√fan-in, biases 0."""
    for parameter in module.parameters():
        if parameter.ndim < 2:
            parameter.zero_()
            continue
        reach = parameter[0].numel() ** -0.5
        parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * reach)
