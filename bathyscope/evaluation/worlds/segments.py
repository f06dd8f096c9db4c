"""Digits of seven segments, drawn at random places: images whose parts are known, and that need no download."""

import torch
from jaxtyping import Bool
from torch import Tensor

from bathyscope.activations.images import Images
from bathyscope.errors import ConfigError

SIDE = 28
WIDTH, HEIGHT, STROKE = 11, 19, 3
"""Pixels of a digit and of its lines."""
FURTHEST = (SIDE - HEIGHT) // 2
"""Pixels by which a digit can be moved from the middle without leaving the image."""
LIT = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcfgd")
"""Segments of each digit: a above, g middle, d below; f and b left and right in the upper half, e and c below."""
DARKEST = 160
"""Least brightness of an image's lines."""


def drawn_digits(n_images: int, *, seed: int, max_shift: int = FURTHEST) -> Images:
    """Grey images of 28 × 28 pixels with one digit each, at most `max_shift` pixels off the middle either way.

    Class, place and brightness are drawn from `seed`.
    """
    if n_images < 1 or not 0 <= max_shift <= FURTHEST:
        raise ConfigError(
            f"n_images is {n_images} and max_shift {max_shift}, expected at least 1 and from 0 to {FURTHEST}"
        )
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.randint(0, len(LIT), (n_images,), generator=generator)
    top_N, left_N = (
        ((SIDE - length) // 2 + torch.randint(-max_shift, max_shift + 1, (n_images,), generator=generator)).tolist()
        for length in (HEIGHT, WIDTH)
    )
    light_N = torch.randint(DARKEST, 256, (n_images,), generator=generator, dtype=torch.uint8)
    shapes = [shape(digit) for digit in range(len(LIT))]
    pixels_NHW = torch.zeros(n_images, SIDE, SIDE, dtype=torch.uint8)
    for number, (digit, top, left) in enumerate(zip(labels_N.tolist(), top_N, left_N, strict=True)):
        pixels_NHW[number, top : top + HEIGHT, left : left + WIDTH] = shapes[digit] * light_N[number]
    return Images(name="drawn digits", pixels_NHW=pixels_NHW, labels_N=labels_N)


def shape(digit: int) -> Bool[Tensor, "Y X"]:
    """The pixels of a digit that are lit."""
    middle = (HEIGHT - STROKE) // 2
    first, last = slice(0, STROKE), slice(-STROKE, None)
    upper, lower = slice(0, middle + STROKE), slice(middle, HEIGHT)
    whole, line = slice(None), slice(middle, middle + STROKE)
    places = {
        "a": (first, whole),
        "b": (upper, last),
        "c": (lower, last),
        "d": (last, whole),
        "e": (lower, first),
        "f": (upper, first),
        "g": (line, whole),
    }
    lit_YX = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    for segment in LIT[digit]:
        lit_YX[places[segment]] = True
    return lit_YX
