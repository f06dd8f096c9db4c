"""Seconds of several pieces of work, taken turn by turn: what else the machine does falls on all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple


class Taken(NamedTuple):
    """Medians over rounds."""

    wall: float
    """Seconds on the clock."""
    cpu: float
    """Seconds of this process on all its cores: what the clock would say on a machine with nothing else to do."""


def seconds_of(work: Mapping[str, Callable[[], object]], *, turns: int) -> dict[str, Taken]:
    """What each piece takes, over `turns` rounds after one that does not count."""
    taken: dict[str, list[Taken]] = {name: [] for name in work}
    for turn in range(turns + 1):
        for name, piece in work.items():
            wall, cpu = time.perf_counter(), time.process_time()
            piece()
            if turn > 0:
                taken[name].append(Taken(time.perf_counter() - wall, time.process_time() - cpu))
    return {name: Taken(*(median(each) for each in zip(*rounds, strict=True))) for name, rounds in taken.items()}
