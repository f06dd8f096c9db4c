"""`Measured`: what one scorer found on one passage, and what a scorer must do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from bathyscope.explanations.passages import Group, Passage

Statistic = Literal["balanced accuracy", "accuracy", "correlation", "AUC"]
"""Of yes-or-no answers; of a choice among several; of strengths token by token; of a ranking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One passage and one explanation. Truth and value have an entry per token for simulation, else one."""

    feature: int
    document: int
    token: int
    group: Group
    truth: tuple[float, ...]
    """What holds: 1 where the feature fires, or its strengths."""
    value: tuple[float, ...] | None
    """What was said, on the scorer's own scale; None where there was no answer."""


@runtime_checkable
class Scorer(Protocol):
    """Compares an explanation with passages."""

    @property
    def name(self) -> str:
        """Short name, such as `detection`."""
        ...

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """The figures that sum up what was measured."""
        ...

    @property
    def reads_explanation(self) -> bool:
        """False for one that looks at passages alone: a shuffled explanation is no null for it."""
        ...

    def measure(self, explanation: str, passages: Sequence[Passage]) -> list[Measured]:
        """What was found on the passages of one feature. Raises ModelError when a judge cannot be reached."""
        ...


def measured(passage: Passage, truth: tuple[float, ...], value: tuple[float, ...] | None) -> Measured:
    """A row about `passage`."""
    return Measured(
        feature=passage.feature,
        document=passage.document,
        token=passage.token,
        group=passage.group,
        truth=truth,
        value=value,
    )
