"""Several ways of doing one thing, timed in turn in one process: A B C A B C …, after a warm-up of each."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one way, one entry for each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Over the rounds."""
        return median(self.seconds)

    def ratio(self, of: "Times") -> tuple[float, float, float]:
        """Seconds of `of` in units of this way's, round by round: median, least, most."""
        found = sorted(other / own for own, other in zip(self.seconds, of.seconds, strict=True))
        return median(found), found[0], found[-1]


def interleaved(ways: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 1) -> dict[str, Times]:
    """The times of every way. What a way returns is dropped before the next one runs."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            spent = time.perf_counter() - start
            if number >= warm_up:
                seconds[name].append(spent)
    return {name: Times(tuple(spent)) for name, spent in seconds.items()}


def table(times: Mapping[str, Times], *, beside: str, unit: str = "s", factor: float = 1.0) -> str:
    """Markdown: median and range of each way in `unit` (`factor` of them to the second), and how many times faster
    than the way `beside` it is."""
    lines = [f"| way | {unit}, median | range | times as fast as {beside} |", "|---|---|---|---|"]
    for name, own in times.items():
        middle, low, high = own.ratio(times[beside])
        scaled = [factor * seconds for seconds in (own.median, min(own.seconds), max(own.seconds))]
        lines.append(
            f"| {name} | {scaled[0]:.4g} | {scaled[1]:.4g}–{scaled[2]:.4g} | {middle:.2f} ({low:.2f}–{high:.2f}) |"
        )
    return "\n".join(lines)
