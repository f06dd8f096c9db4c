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


def test_a_digit_is_off_the_middle_by_no_more_than_asked():
    middle = drawn_digits(40, seed=0, max_shift=0)
    for digit in range(10):
        own = middle.pixels_NHW[middle.labels_N == digit] > 0
        assert len(torch.unique(own, dim=0)) == 1
    moved = drawn_digits(40, seed=0, max_shift=1)
    reach = torch.nn.functional.max_pool2d((middle.pixels_NHW > 0).float(), 3, stride=1, padding=1)
    eights = moved.labels_N == 8
    assert bool(eights.any()) and bool(((moved.pixels_NHW[eights] > 0).float() <= reach[eights]).all())


@pytest.mark.parametrize(("n_images", "max_shift"), [(0, 1), (3, -1), (3, 5)])
def test_no_image_and_a_digit_outside_it_are_refused(n_images, max_shift):
    with pytest.raises(ConfigError, match=r"expected at least 1 and from 0 to 4"):
        drawn_digits(n_images, seed=0, max_shift=max_shift)
