"""Small pictures as PNG files, written with nothing but the standard library."""

import struct
import zlib
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.files import write_atomic


def tiled(images_RKCHW: Float[Tensor, "R K C H W"], *, zoom: int = 1, gap: int = 2) -> UInt8[Tensor, "Y X C"]:
    """A table of images in [0, 1], R rows and K columns, with grey lines of `gap` pixels between and around them."""
    if zoom < 1 or gap < 0:
        raise ConfigError(f"zoom is {zoom} and gap {gap}: expected at least 1 and 0")
    large = images_RKCHW.repeat_interleave(zoom, 3).repeat_interleave(zoom, 4)
    r, k, c, h, w = large.shape
    table_YXC = torch.full((gap + r * (h + gap), gap + k * (w + gap), c), 160, dtype=torch.uint8)
    for row in range(r):
        for column in range(k):
            y, x = gap + row * (h + gap), gap + column * (w + gap)
            image_HWC = (large[row, column].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8)
            table_YXC[y : y + h, x : x + w] = image_HWC
    return table_YXC


def write_png(file: Path, image_YXC: UInt8[Tensor, "Y X C"]) -> None:
    """Write an RGB image (PNG specification, ISO/IEC 15948: 8 bits a channel, no filter)."""
    height, width, channels = image_YXC.shape
    if channels != 3:
        raise ConfigError(f"an image of {channels} channels: expected 3, red, green and blue")
    lines = torch.cat([torch.zeros(height, 1, dtype=torch.uint8), image_YXC.reshape(height, -1)], dim=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(lines.contiguous().numpy().tobytes(), 9)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    write_atomic(file, b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
