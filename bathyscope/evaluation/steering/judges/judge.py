"""What a judge of steered answers must do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from bathyscope.evaluation.steering.answers import SteeredAnswer

Aspect = Literal["concept", "instruction", "fluency"]
"""Is the answer about the concept; has it to do with the instruction; does it read well?"""
ASPECTS: tuple[Aspect, ...] = ("concept", "instruction", "fluency")
BEST = 2
"""Ratings are 0 (no), 1 (in part) and 2 (yes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A text whose answer is known, with what the judge says of it."""

    is_true: bool
    """Whether the judge should say yes."""
    rating: int | None
    group: str
    """Texts of one group are not independent."""


@runtime_checkable
class SteeringJudge(Protocol):
    """Rates one aspect of answers."""

    @property
    def name(self) -> str:
        """Short name, such as `words`."""
        ...

    @property
    def aspect(self) -> Aspect:
        """What it rates."""
        ...

    def rate(self, answers: Sequence[SteeredAnswer]) -> list[int | None]:
        """0, 1 or 2 for each answer; None where the judge gave none."""
        ...

    def calibration(self) -> list[Known]:
        """What it says of texts whose answer is known, none of which it was made from."""
        ...
