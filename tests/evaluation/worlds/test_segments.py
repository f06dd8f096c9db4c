"""Drawn digits: their segments are where they should be, and no two digits look alike."""

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.segments import DARKEST, HEIGHT, WIDTH, drawn_digits, shape


def test_no_two_digits_look_alike_and_an_eight_holds_all_others():
    shapes = torch.stack([shape(digit) for digit in range(10)])
    assert len(torch.unique(shapes.flatten(1), dim=0)) == 10
    assert bool((shapes <= shapes[8]).all())
    assert torch.equal(shape(1).any(0).nonzero()[:, 0], torch.arange(WIDTH - 3, WIDTH)), "a one is its right side"


def test_an_image_holds_its_digit_at_one_brightness():
    images = drawn_digits(30, seed=0)
    for pixels_HW, digit in zip(images.pixels_NHW, images.labels_N.tolist(), strict=True):
        lit_HW = pixels_HW > 0
        assert int(lit_HW.sum()) == int(shape(digit).sum())
        assert len(pixels_HW[lit_HW].unique()) == 1 and int(pixels_HW.max()) >= DARKEST
        assert int(lit_HW.any(1).sum()) <= HEIGHT
    assert torch.equal(images.pixels_NHW, drawn_digits(30, seed=0).pixels_NHW)
    assert images.sha256 != drawn_digits(30, seed=1).sha256


def test_no_image_is_refused():
    with pytest.raises(ConfigError, match="n_images is 0"):
        drawn_digits(0, seed=0)
