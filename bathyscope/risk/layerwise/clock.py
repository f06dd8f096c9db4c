"""Seconds of several pieces of work, taken turn by turn, so that whatever else the machine does falls on all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def seconds_of(work: Mapping[str, Callable[[], object]], *, turns: int) -> dict[str, float]:
    """Median wall-clock seconds of each piece over `turns` rounds, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(turns + 1):
        for name, piece in work.items():
            started = time.perf_counter()
            piece()
            if turn > 0:
                taken[name].append(time.perf_counter() - started)
    return {name: median(each) for name, each in taken.items()}
