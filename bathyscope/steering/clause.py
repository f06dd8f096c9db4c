"""`Clause`: an operation with where, when and how strongly it acts."""

from dataclasses import dataclass

from bathyscope.errors import ConfigError
from bathyscope.steering.gates import FeatureGate, Gate
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.positions import EVERYWHERE, Positions
from bathyscope.steering.schedules import Schedule, Toward


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One operation and its conditions; a bare operation acts everywhere at full strength."""

    operation: Operation
    """What is done."""
    where: Positions = EVERYWHERE
    """At which tokens."""
    gate: Gate | None = None
    """Acts where it opens; None is always open."""
    latched: bool = False
    """Whether a gate that has opened stays open for the rest of its row."""
    schedule: Schedule | None = None
    """Factor of the operation's move at each token; None is 1."""
    name: str = ""
    """What messages call it."""

    def __post_init__(self) -> None:
        if self.latched and self.gate is None:
            raise ConfigError(f"{self.label} is latched and has no gate that could open")
        reader = self.gate if isinstance(self.gate, FeatureGate) else self.schedule
        if isinstance(reader, FeatureGate | Toward) and reader.dictionary.hookpoint != self.operation.hookpoint:
            other = reader.dictionary.hookpoint
            raise ConfigError(f"{self.label} acts at {self.operation.hookpoint}, but reads a dictionary of {other}")

    @property
    def label(self) -> str:
        """Name, or what it does."""
        return f"clause {self.name!r}" if self.name else f"the {type(self.operation).__name__} clause"


def as_clause(given: "Operation | Clause") -> Clause:
    """A bare operation as a clause."""
    return given if isinstance(given, Clause) else Clause(operation=given)
