"""Seconds of calls, taken in turn so that what else the machine does falls on all alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median

Call = Callable[[], object]


def seconds_of(calls: Mapping[str, Call], *, rounds: int) -> dict[str, float]:
    """Name → median seconds of a call over the rounds; each is called once before, to warm up."""
    for call in calls.values():
        call()
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - start)
    return {name: median(each) for name, each in spent.items()}
