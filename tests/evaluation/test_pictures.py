"""PNG files: read back byte by byte."""

import struct
import zlib

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.pictures import tiled, write_png


def read_png(data: bytes) -> torch.Tensor:
    """A PNG as written by `write_png`, checked chunk by chunk."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(data):
        (n,) = struct.unpack(">I", data[place : place + 4])
        name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + n]
        assert struct.unpack(">I", data[place + 8 + n : place + 12 + n])[0] == zlib.crc32(name + body)
        chunks[name], place = body, place + 12 + n
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour, rest) == (8, 2, [0, 0, 0]) and list(chunks)[-1] == b"IEND"
    lines = torch.frombuffer(bytearray(zlib.decompress(chunks[b"IDAT"])), dtype=torch.uint8).reshape(height, -1)
    assert bool((lines[:, 0] == 0).all())
    return lines[:, 1:].reshape(height, width, 3)


def test_a_written_picture_is_read_back_as_it_was(tmp_path):
    image = torch.randint(256, (5, 7, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    write_png(tmp_path / "a.png", image)
    assert torch.equal(read_png((tmp_path / "a.png").read_bytes()), image)
    with pytest.raises(ConfigError, match="expected 3"):
        write_png(tmp_path / "b.png", torch.zeros(2, 2, 1, dtype=torch.uint8))


def test_tiles_stand_in_rows_and_columns_with_lines_between():
    images = torch.zeros(2, 3, 3, 4, 4)
    images[1, 2] = 1.0
    table = tiled(images, zoom=2, gap=1)
    assert table.shape == (2 * 9 + 1, 3 * 9 + 1, 3)
    assert bool((table[10:18, 19:27] == 255).all()) and bool((table[1:9, 1:9] == 0).all())
    assert bool((table[9] == 160).all())
    with pytest.raises(ConfigError, match="zoom"):
        tiled(images, zoom=0)
