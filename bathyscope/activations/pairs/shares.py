"""Whole numbers in given shares."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def quotas(n: int, shares: Mapping[Key, float]) -> dict[Key, int]:
    """`n` split in proportion to `shares` (not all 0): rounded down, what is left to the largest remainders."""
    exact = {key: n * share / sum(shares.values()) for key, share in shares.items()}
    found = {key: int(value) for key, value in exact.items()}
    for key in sorted(exact, key=lambda key: found[key] - exact[key])[: n - sum(found.values())]:
        found[key] += 1
    return found
