"""Blocks of steps in turn, A B C A B C …, so that whatever else the machine does falls on all alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from train.child import Child


@dataclass(slots=True, kw_only=True)
class Record:
    """What was seen of one contender."""

    versions: Mapping[str, str]
    """Of its package and of torch."""
    settings: Mapping[str, Any]
    """As its adapter chose them."""
    seconds: list[float] = field(default_factory=list)
    """Per step, one entry for each round; warm-up is left out."""
    losses: list[float] = field(default_factory=list)
    """Of every step, warm-up too."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Of the last block."""
    bytes_above_start: int = 0
    """Most memory held above what was held when libraries and activations were loaded."""
    bytes_peak: int = 0
    """Most memory held in all."""

    @property
    def median(self) -> float:
        """Seconds per step."""
        return median(self.seconds)

    def take(self, answer: Mapping[str, Any]) -> None:
        """Note what a block said, its time aside."""
        self.losses += answer["losses"]
        self.figures = answer["figures"]
        self.bytes_above_start, self.bytes_peak = answer["bytes_above_start"], answer["bytes_peak"]


def interleave(
    children: Sequence[Child], records: Mapping[str, Record], *, rounds: int, steps: int, warm_up: int
) -> None:
    """`rounds` blocks of `steps` steps of every child in turn, after `warm_up` steps of each."""
    for child in children:
        records[child.name].take(child.steps(warm_up))
    for _ in range(rounds):
        for child in children:
            answer = child.steps(steps)
            records[child.name].take(answer)
            records[child.name].seconds.append(answer["seconds"] / steps)


def ratios(record: Record, of: Record) -> tuple[float, float, float]:
    """How many times the seconds of `of` this one takes: median over rounds, least, most."""
    found = sorted(one / other for one, other in zip(record.seconds, of.seconds, strict=True))
    return median(found), found[0], found[-1]


def largest_difference(losses: Sequence[float], reference: Sequence[float]) -> float:
    """Largest relative difference of two curves of losses of equal length."""
    return max(abs(one - other) / abs(other) for one, other in zip(losses, reference, strict=True))
