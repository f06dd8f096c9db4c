"""One order for all numbers: by value, NaN last, then by column. Selection works on integers that sort the same way.

A *key* is the int32 whose order is that of a float32: NaN comes below -inf, padding below NaN, -0 is 0. A *tag* is
`2 · column + sign`: it breaks ties in favour of the lowest column, and holds the sign where keys are of sizes.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

PAD = tl.constexpr(-(2**31))
"""Key of no entry at all."""
NAN = tl.constexpr(-(2**31) + 1)
"""Key of NaN."""
FLIP = tl.constexpr(2**31 - 1)
"""Turns the bits of a negative float32 into its key, and back."""
MOST_COLUMNS = 2**30
"""Columns that a tag can tell apart."""


@triton.jit
@no_type_check
def keys_of(values, ABSOLUTE: tl.constexpr):
    """Keys of float32 values, or of their sizes."""
    sizes = tl.abs(values) if ABSOLUTE else values
    bits = sizes.to(tl.int32, bitcast=True)
    keys = tl.where(bits < 0, bits ^ FLIP, bits)
    keys = tl.where(sizes == 0, 0, keys)
    return tl.where(sizes == sizes, keys, NAN)  # noqa: PLR0124


def values_of(keys_NK: Int[Tensor, "N K"], tags_NK: Int[Tensor, "N K"], *, absolute: bool) -> Float[Tensor, "N K"]:
    """The float32 numbers that keys stand for, with the sign of the tag where keys are of sizes."""
    bits_NK = torch.where(keys_NK < 0, keys_NK ^ FLIP.value, keys_NK).view(torch.float32)
    values_NK = torch.where(keys_NK == NAN.value, torch.nan, bits_NK)
    return torch.where(tags_NK % 2 == 1, -values_NK, values_NK) if absolute else values_NK
