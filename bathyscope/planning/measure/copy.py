"""What memory gives: the bound of every other rate of bytes."""

from collections.abc import Iterable

import torch

from bathyscope.planning.measure.clock import seconds_of

N_NUMBERS = 1 << 24
FASTER_IN_CACHE = 4.0
"""Work on small tensors may go so many times as fast as memory is copied."""
STEPS_PER_SECOND = 1e5
"""More steps than that nothing can begin in a second."""


def copy_rate(*, rounds: int) -> float:
    """Bytes/s read and written by copies of 64 MB."""
    source, target = torch.zeros(N_NUMBERS), torch.ones(N_NUMBERS)
    seconds = seconds_of({"copy": lambda: target.copy_(source)}, rounds=rounds)["copy"]
    return 2 * 4 * N_NUMBERS / seconds


def bounds(copied: float, sorts: Iterable[str]) -> dict[str, float]:
    """Sort → the most that a second can hold of it, where memory copies at `copied` bytes/s."""
    return {sort: STEPS_PER_SECOND if sort == "step" else FASTER_IN_CACHE * copied for sort in sorts}
