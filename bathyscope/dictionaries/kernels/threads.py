"""Runs a compiled kernel over pieces of its rows, on as many threads as PyTorch has.

Kernels release the interpreter lock and write disjoint rows, so results depend neither on the number of threads nor on
who takes which piece. A thread takes the next piece when it is done with one: nobody waits for a thread that came late.
Threads live for one call: nothing is left over for a fork to trip on.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch

Kernel = Callable[..., None]
"""A compiled function whose last two arguments are the first row and the row after the last."""


LEAST_ROWS = 128
"""Rows below which a second thread costs more than it saves."""
PIECES = 6
"""Pieces for each thread."""


def share_rows(kernel: Kernel, n_rows: int, *arguments: Any) -> None:
    """Call `kernel(*arguments, start, stop)` so that all rows 0…n_rows are visited once."""
    n = n_pieces(n_rows // LEAST_ROWS)
    share(kernel, [n_rows * i // n for i in range(n + 1)], *arguments)


def n_pieces(most: int) -> int:
    """Into how many pieces work is cut that can be cut into `most`; 1 on a single thread."""
    n_threads = torch.get_num_threads()
    return 1 if n_threads == 1 else max(1, min(PIECES * n_threads, most))


def share(kernel: Kernel, bounds: Sequence[int], *arguments: Any) -> None:
    """Call `kernel(*arguments, start, stop)` once for each pair of neighbouring bounds, on several threads."""
    pieces = list(pairwise(bounds))
    n_others = min(torch.get_num_threads(), len(pieces)) - 1
    left = iter(pieces)
    if n_others < 1:
        _work(kernel, left, arguments)
        return
    with ThreadPoolExecutor(n_others) as pool:
        others = [pool.submit(_work, kernel, left, arguments) for _ in range(n_others)]
        _work(kernel, left, arguments)
        for other in others:
            other.result()


def _work(kernel: Kernel, left: Iterator[tuple[int, int]], arguments: Sequence[Any]) -> None:
    """Take pieces until none is left; to take one is a single step of the interpreter, so nobody gets the same."""
    for start, stop in left:
        kernel(*arguments, start, stop)
