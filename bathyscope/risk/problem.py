"""`Problem`: whose outputs, on which inputs, and which of them are the event; `WrittenProblem`: which texts."""

from dataclasses import dataclass

from bathyscope.models.model import Model
from bathyscope.risk.events.event import Event
from bathyscope.risk.events.text import TextEvent
from bathyscope.risk.inputs.law import Law
from bathyscope.risk.inputs.writing import Writing


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
        """What is asked, in reports."""
        return f"{self.event.name} | {self.inputs.name}, {self.model.name}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenProblem:
    """Asks for P[event(y)] with y written by a language model: its sampled answers, or prompts for another model."""

    texts: Writing
    """Who writes what."""
    event: TextEvent
    """What a text must be to count."""

    @property
    def name(self) -> str:
        """What is asked, in reports."""
        return f"{self.event.name} | {self.texts.name}"
