"""`Event`: a verdict on what the network makes of an input, from one forward."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from bathyscope.models.model import Model


class Outcome(NamedTuple):
    """What one forward says of the event, for each row."""

    score_B: Float[Tensor, " B"]
    """How far inside the event a row is; differentiable. At least 0 exactly for hits; the logarithm of the value where
    the event is smooth, which may be below the smallest float."""
    value_B: Float[Tensor, " B"]
    """P(event | input): 0 or 1 for events that the input decides, between them for sampled outputs."""


@runtime_checkable
class Event(Protocol):
    """What every event gives."""

    is_smooth: ClassVar[bool]
    """Whether the output is drawn, so that an input has a probability of the event rather than a verdict."""
    has_gradient: ClassVar[bool]
    """Whether the score has a derivative with respect to the input's embeddings."""

    @property
    def name(self) -> str:
        """What the event is called in reports."""
        ...

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Scores and values of the rows of `inputs`, keyword inputs whose last column ends every row."""
        ...


@runtime_checkable
class Generates(Protocol):
    """An event for which the model writes: each token that it may write counts one forward, as it passes alone."""

    n_generated: int
    """Most tokens written for one input."""
