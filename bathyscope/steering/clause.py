"""`Clause`: an operation with where, when and how strongly it acts."""

import reprlib
from dataclasses import dataclass

from bathyscope.dictionaries.dictionary import Dictionary
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
        self._require_kinds()
        if self.latched and self.gate is None:
            raise ConfigError(f"{self.label} is latched and has no gate that could open")
        elsewhere = [read.hookpoint for read in self.reads if read.hookpoint != self.operation.hookpoint]
        if elsewhere:
            at = self.operation.hookpoint
            raise ConfigError(f"{self.label} acts at {at}, but reads a dictionary of {elsewhere[0]}")

    def _require_kinds(self) -> None:
        """Notebooks check no types, and what is wrong here would only be found in the middle of a forward."""
        fields: dict[str, tuple[object, type, str]] = {
            "operation": (self.operation, Operation, "an operation such as Clamp(…)"),
            "where": (self.where, Positions, "Positions(…)"),
            "gate": (self.gate, Gate, "a gate such as FeatureGate(…), or None"),
            "schedule": (self.schedule, Schedule, "a schedule such as Ramp(…), or None"),
        }
        for name, (given, kind, expected) in fields.items():
            is_left_out = given is None and name in ("gate", "schedule")
            if not is_left_out and not isinstance(given, kind):
                raise ConfigError(f"{name} of {self.label} is {reprlib.repr(given)}, expected {expected}")

    @property
    def reads(self) -> list[Dictionary]:
        """Dictionaries by which its gate and its schedule tell when, and how strongly, it acts."""
        return [each.dictionary for each in (self.gate, self.schedule) if isinstance(each, FeatureGate | Toward)]

    @property
    def label(self) -> str:
        """Name, or what it does."""
        return f"clause {self.name!r}" if self.name else f"the {type(self.operation).__name__} clause"


def as_clause(given: "Operation | Clause") -> Clause:
    """A bare operation as a clause."""
    return given if isinstance(given, Clause) else Clause(operation=given)
