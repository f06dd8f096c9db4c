"""Windows become offsets into one stream that holds each covered token once."""

import numpy as np
from numpy.typing import NDArray

from bathyscope.web.token_stream import cover


def array(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


def test_overlapping_and_touching_windows_share_one_part() -> None:
    stream = cover(np.arange(100, 120), array(2, 4, 8, 15), array(6, 8, 10, 17))
    assert stream.ids.tolist() == [*range(102, 110), 115, 116]
    assert stream.place(array(2, 4, 9, 15, 16)).tolist() == [0, 2, 7, 8, 9]


def test_every_window_of_random_ones_reads_back() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 1000, 500)
    starts = rng.integers(0, 480, 40)
    stops = starts + rng.integers(1, 21, 40)
    stream = cover(tokens, starts, stops)
    for start, stop, place in zip(starts, stops, stream.place(starts), strict=True):
        assert stream.ids[place : place + stop - start].tolist() == tokens[start:stop].tolist()
    covered = np.zeros(500, bool)
    for start, stop in zip(starts, stops, strict=True):
        covered[start:stop] = True
    assert len(stream.ids) == covered.sum()


def test_no_window_makes_an_empty_stream() -> None:
    stream = cover(np.arange(5), array(), array())
    assert len(stream.ids) == 0
    assert len(stream.place(array())) == 0
