"""`Estimator`: a way to a probability, taken in steps so that it can end at any of them."""

from typing import Literal, Protocol, runtime_checkable

import torch

from bathyscope.risk.estimate import Figures
from bathyscope.risk.look import Look
from bathyscope.risk.written_look import WrittenLook

Need = Literal["gradient", "tokens", "score", "argmax"]
"""What a problem must offer: a gradient of the score; one token per choice; a score that an input decides by;
an event that is one token's argmax."""


@runtime_checkable
class Run(Protocol):
    """An estimator at work."""

    def step(self) -> bool:
        """Do the next piece of work; False when nothing is left to do. May raise BudgetSpent."""
        ...

    def figures(self, level: float) -> Figures:
        """What is known so far, with an interval of nominal coverage `level`."""
        ...


@runtime_checkable
class Estimator(Protocol):
    """What every estimator gives. Its settings are the fields of a frozen dataclass."""

    @property
    def name(self) -> str:
        """What the estimator is called in reports."""
        ...

    @property
    def needs(self) -> frozenset[Need]:
        """What a problem must offer."""
        ...

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start on the problem that is looked at. Raises ConfigError when the budget is too small for one round."""
        ...


@runtime_checkable
class WritingEstimator(Protocol):
    """What every estimator of a `WrittenProblem` gives."""

    @property
    def name(self) -> str:
        """What the estimator is called in reports."""
        ...

    def begin_written(self, look: WrittenLook, generator: torch.Generator) -> Run:
        """Start on the texts that are looked at. Raises ConfigError when the budget is too small for one round."""
        ...
