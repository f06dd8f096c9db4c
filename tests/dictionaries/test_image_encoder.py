"""The encoder of images: positions to fractions of a pixel, any image size, the same start for the same seed."""

import pytest
import torch

from bathyscope.dictionaries.image_encoder import REACH, ImageEncoder, ImageEncoderSettings
from bathyscope.errors import ConfigError


def encoder(seed: int = 0, **sizes: int) -> ImageEncoder:
    return ImageEncoder(ImageEncoderSettings(**sizes), generator=torch.Generator().manual_seed(seed))


def test_codes_have_the_asked_width_for_any_even_image_size():
    for size in (16, 24, 64):
        assert encoder(n_latents=5)(torch.rand(3, 3, size, size)).shape == (3, 5)


def test_the_start_is_drawn_from_the_generator_alone():
    image = torch.rand(2, 3, 16, 16)
    torch.manual_seed(1)
    one = encoder(seed=4)(image)
    torch.manual_seed(2)
    assert torch.equal(one, encoder(seed=4)(image)) and not torch.equal(one, encoder(seed=5)(image))


@torch.no_grad()
def test_a_map_that_looks_at_ink_finds_its_centre_to_fractions_of_a_pixel():
    net = encoder(n_latents=2, n_maps=1, n_channels=1)
    for parameter in net.parameters():
        parameter.zero_()
    net.look[0].weight.fill_(1 / 48)
    net.look[2].weight.fill_(1.0)
    net.maps.weight.fill_(1.0)
    net.straight.weight[0, 0] = net.straight.weight[1, 1] = 1.0
    grid = (torch.arange(64) + 0.5) / 64

    def blob(x: float, y: float) -> torch.Tensor:
        distance = (grid[None] - x).square() + (grid[:, None] - y).square()
        return (1 - torch.exp(-distance / 0.05)).expand(1, 3, 64, 64)

    found = net(blob(0.4, 0.6))[0]
    torch.testing.assert_close(found, REACH * torch.tensor([-0.2, 0.2]), rtol=0, atol=0.1)
    moved = net(blob(0.41, 0.6))[0] - found
    assert float(moved[0]) == pytest.approx(REACH * 0.02, rel=0.2) and abs(float(moved[1])) < 0.01


def test_sizes_below_one_are_refused():
    with pytest.raises(ConfigError):
        ImageEncoderSettings(n_maps=0)
