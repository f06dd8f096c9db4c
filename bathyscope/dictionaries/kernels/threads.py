"""Runs a compiled kernel over shares of its rows, one thread each.

Kernels release the interpreter lock and write disjoint rows, so results do not depend on the number of threads, which
is PyTorch's. Threads live for one call: nothing is left over for a fork to trip on.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch

Kernel = Callable[..., None]
"""A compiled function whose last two arguments are the first row and the row after the last."""


LEAST_ROWS = 128
"""Rows below which a second thread costs more than it saves."""


def share_rows(kernel: Kernel, n_rows: int, *arguments: Any) -> None:
    """Call `kernel(*arguments, start, stop)` so that all rows 0…n_rows are visited once."""
    n_threads = max(1, min(torch.get_num_threads(), n_rows // LEAST_ROWS))
    share(kernel, [n_rows * i // n_threads for i in range(n_threads + 1)], *arguments)


def share(kernel: Kernel, bounds: Sequence[int], *arguments: Any) -> None:
    """Call `kernel(*arguments, start, stop)` for each pair of neighbouring bounds, the first on the calling thread."""
    pairs = list(pairwise(bounds))
    if len(pairs) == 1:
        kernel(*arguments, *pairs[0])
        return
    with ThreadPoolExecutor(len(pairs) - 1) as pool:
        others = [pool.submit(kernel, *arguments, *pair) for pair in pairs[1:]]
        kernel(*arguments, *pairs[0])
        for other in others:
            other.result()
