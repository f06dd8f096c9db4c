"""`Problem`: whose outputs, on which inputs, and which of them are the event."""

from dataclasses import dataclass

from bathyscope.models.model import Model
from bathyscope.risk.events.event import Event
from bathyscope.risk.inputs.law import Law


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Asks for P[event(model(x))] with x drawn from the law of inputs."""

    model: Model
    """Whose outputs."""
    inputs: Law
    """What the model is given."""
    event: Event
    """What an output must be to count."""

    @property
    def name(self) -> str:
        """What the problem is called in reports."""
        return f"{self.event.name} | {self.inputs.name}, {self.model.name}"
