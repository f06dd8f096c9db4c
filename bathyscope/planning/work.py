"""`Part`, some work of one sort and the time it takes; `Rates`, how much of each sort a device does in a second."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bathyscope.errors import ConfigError

Sort = Literal[
    "product",
    "pass",
    "scan",
    "pairs",
    "rows",
    "weights",
    "step",
    "near",
    "candidates",
    "largest",
    "postings",
    "counting",
    "examples",
    "tokenise",
    "write",
    "read",
    "hash",
    "link",
]
"""What limits a part of the work; `UNITS` says what each is counted in."""

FLOP, BYTE = "FLOP", "bytes"
SORTS: tuple[Sort, ...] = get_args(Sort)
UNITS: Mapping[Sort, str] = {
    **dict.fromkeys(SORTS, BYTE),
    "product": FLOP,  # dense matrix products
    "step": "steps",  # what a training step costs whatever its size
    "examples": "features",  # of which examples are chosen and written
    "tokenise": "tokens",
}
"""Bytes are those of

- pass: activations that a model's layers go over besides their products,
- scan, near: pre-activations looked through while a dictionary learns, and while it is indexed,
- pairs, rows: rows gathered for kept pairs, and rows of a batch,
- weights: weights with their gradients and Adam's averages,
- candidates: near misses that take the place of others; postings: codes sorted by feature,
- largest: matrices in which the largest of each row are found; counting: features counted that fire together,
- write, read, hash: files; link: what devices tell each other.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some work of one sort on one device."""

    name: str
    """What it is."""
    sort: Sort
    """What limits it."""
    amount: float
    """How much, in the sort's unit."""
    seconds: float
    """How long it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How much work of each sort one device does in a second."""

    per_second: Mapping[str, float]
    """Sort → amount in its unit."""

    def __post_init__(self) -> None:
        lacking = [sort for sort in SORTS if sort not in self.per_second]
        if lacking:
            raise ConfigError(f"rates lack {', '.join(lacking)}")
        bad = [f"{sort} {rate}" for sort, rate in self.per_second.items() if not (rate > 0 and math.isfinite(rate))]
        if bad:
            raise ConfigError(f"rates must be positive and finite, found {', '.join(bad)}")

    def part(self, name: str, sort: Sort, amount: int | float) -> Part:
        """So much work, with its seconds."""
        return Part(name=name, sort=sort, amount=float(amount), seconds=amount / self.per_second[sort])


def total_seconds(parts: Iterable[Part]) -> float:
    """Of parts that are done one after another."""
    return math.fsum(part.seconds for part in parts)


def total_flops(parts: Iterable[Part]) -> float:
    """FLOPs of the products."""
    return math.fsum(part.amount for part in parts if UNITS[part.sort] == FLOP)


def total_bytes(parts: Iterable[Part]) -> float:
    """Bytes that are moved besides the products' own."""
    return math.fsum(part.amount for part in parts if UNITS[part.sort] == BYTE)
