"""`Learner`: what every way of finding a direction takes and gives. Learners see the teaching half and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.vectors.examples import Examples, Pool


def forget(_state: Mapping[str, Any]) -> None:
    """Keep nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What a learner is given."""

    examples: Examples
    """The teaching half."""
    hookpoint: str
    """Where its activations were read."""
    pool: Pool
    """Whether texts or tokens are the rows."""
    seed: int
    """Seed of everything that is drawn."""
    model: Model | None = None
    """The model that was read, for learners that run it."""
    dictionary: Dictionary | None = None
    """A dictionary of the hookpoint, for learners that choose among its directions."""
    state: Mapping[str, Any] | None = None
    """What `save` was last given before an interruption."""
    save: Callable[[Mapping[str, Any]], None] = forget
    """Keeps a long learner's state (plain JSON)."""

    def require_model(self, learner: str) -> Model:
        """The model. Raises ConfigError when none was given."""
        if self.model is None:
            raise ConfigError(f"{learner} runs the model, and none was given")
        return self.model

    def require_dictionary(self, learner: str) -> Dictionary:
        """The dictionary. Raises ConfigError when none was given, or one of another hookpoint or width."""
        if self.dictionary is None:
            raise ConfigError(f"{learner} chooses among the directions of a dictionary, and none was given")
        self.dictionary.require_one_place(learner)
        if self.dictionary.hookpoint not in (None, self.hookpoint):
            raise ConfigError(f"the dictionary belongs to {self.dictionary.hookpoint}, not to {self.hookpoint}")
        if self.dictionary.d_model != self.examples.x_ND.shape[1]:
            width = self.examples.x_ND.shape[1]
            raise ConfigError(f"the dictionary has width {self.dictionary.d_model}, {self.hookpoint} has {width}")
        return self.dictionary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learned:
    """What a learner gives."""

    direction_D: Float[Tensor, " D"]
    """The direction; its length means nothing, its sign is the one of true texts."""
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What was chosen on the way, as JSON data: a feature, a penalty, …"""
    from_labels: bool = True
    """Whether labels had a say; without one, labels in another order are no null."""


@runtime_checkable
class Learner(Protocol):
    """A frozen dataclass of settings with a `learn`."""

    def learn(self, lesson: Lesson) -> Learned:
        """The direction that true texts have more of. Same lesson, same direction."""
        ...


def toward_true(
    direction_D: Float[Tensor, " D"], rows_MD: Float[Tensor, "M D"], labels_M: Bool[np.ndarray, " M"]
) -> Float[Tensor, " D"]:
    """The direction, turned round where false rows lie further along it than true ones."""
    along_M = (rows_MD @ direction_D.to(rows_MD.dtype)).numpy()
    return direction_D if along_M[labels_M].mean() >= along_M[~labels_M].mean() else -direction_D
