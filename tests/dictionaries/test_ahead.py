"""Reading ahead changes neither the order of batches, nor positions, nor when an error comes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.ahead import Ahead
from bathyscope.dictionaries.source import IterableStream


class Noted:
    """Copies that say when they began and ended."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def begin(self, batch: Tensor) -> Tensor:
        self.events.append(f"begin {int(batch[0, 0])}")
        return batch.clone()

    def end(self, begun: Any) -> Tensor:
        self.events.append(f"end {int(begun[0, 0])}")
        return begun


def numbered(n: int) -> IterableStream:
    return IterableStream(iter([torch.full((2, 3), number, dtype=torch.float16) for number in range(n)]), skip=0)


def test_the_next_batch_is_on_its_way_while_one_is_used():
    copying = Noted()
    stream = Ahead(numbered(3), "cpu", copying=copying)
    for number in range(3):
        assert int(next(stream)[0, 0]) == number
        copy = stream.copy()
        assert int(copy[0, 0]) == number and copy.dtype == torch.float32
        assert stream.position() == number + 1
    assert copying.events == ["begin 0", "begin 1", "end 0", "begin 2", "end 1", "end 2"]
    with pytest.raises(StopIteration):
        next(stream)


def test_an_error_comes_when_its_batch_is_due():
    def batches():
        yield torch.zeros(2, 3)
        raise OSError("unreadable")

    stream = Ahead(IterableStream(batches(), skip=0), "cpu", copying=Noted())
    next(stream)
    assert stream.position() == 1
    with pytest.raises(OSError, match="unreadable"):
        next(stream)


def test_nothing_is_read_ahead_for_a_cpu():
    source = numbered(2)
    stream = Ahead(source, "cpu")
    assert stream.position() == 0
    next(stream)
    assert source.position() == 1
    assert torch.equal(stream.copy(), torch.zeros(2, 3))
