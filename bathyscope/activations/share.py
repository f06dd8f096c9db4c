"""A share of a job that several processes do: which of its batches, rows or methods are this one's."""

from dataclasses import dataclass

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One of several shares of a job that know nothing of each other."""

    number: int = 0
    """Number of the share, from 0."""
    of: int = 1
    """How many shares there are."""

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of:
            raise ConfigError(f"share {self.number} of {self.of}: expected a number from 0 to {self.of - 1}")

    def has(self, number: int) -> bool:
        """Whether the thing of that number is in the share that takes each `of`-th, for a stream of unknown length."""
        return number % self.of == self.number

    def among(self, n: int) -> slice:
        """The things that are in the share of `n` that takes neighbours."""
        return slice(n * self.number // self.of, n * (self.number + 1) // self.of)


ALL = Share()
"""The only share."""
