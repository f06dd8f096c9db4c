"""Events inside the model: a probe's reading or a dictionary's feature crosses a line at the last position."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.models.hooks import record
from bathyscope.models.model import Model
from bathyscope.risk.events.event import Outcome
from bathyscope.risk.events.logit import decided

BELOW = -1e-6
"""Score of a feature that would pass the line but is not among those that its dictionary keeps."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """`x · direction >= threshold` at the last position. Score: the difference."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True

    hookpoint: str
    """Where x is read."""
    direction_D: Float[Tensor, " D"]
    """Used as it is, not scaled to length 1."""
    threshold: float
    """In units of the product."""

    @property
    def name(self) -> str:
        """Such as `probe at layers.15 >= 2`."""
        return f"probe at {self.hookpoint} >= {self.threshold:g}"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Product beyond the threshold, and verdict."""
        x_BD = last_activation(model, inputs, self.hookpoint)
        if x_BD.shape[1] != len(self.direction_D):
            raise ConfigError(
                f"a direction of width {len(self.direction_D)} does not fit {self.hookpoint}: {x_BD.shape}"
            )
        return decided(x_BD.double() @ self.direction_D.to(x_BD.device).double() - self.threshold)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureAbove:
    """The code of `feature` at the last position is at least `threshold`.

    Score: code - threshold; for a feature that does not fire, what its pre-activation lacks, so that there is a slope
    towards the event.
    """

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True

    dictionary: Dictionary
    """Of one place of the model."""
    feature: int
    """Number of the feature."""
    threshold: float
    """In units of the code, above 0."""

    def __post_init__(self) -> None:
        self.dictionary.require_one_place("an event on a feature")
        if not 0 <= self.feature < self.dictionary.n_features:
            raise ConfigError(f"feature {self.feature} is none of {self.dictionary.n_features}")
        if not self.threshold > 0:
            raise ConfigError(f"threshold is {self.threshold}, expected above 0: codes are 0 most of the time")
        if self.dictionary.hookpoint is None:
            raise ConfigError("the dictionary does not say which hookpoint it was learnt from")

    @property
    def name(self) -> str:
        """Such as `feature 12 of layers.15 >= 3`."""
        return f"feature {self.feature} of {self.dictionary.hookpoint} >= {self.threshold:g}"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Code beyond the threshold, and verdict."""
        assert self.dictionary.hookpoint is not None
        x_BD = last_activation(model, inputs, self.dictionary.hookpoint)
        pre_BF, codes = self.dictionary.pre_and_codes(x_BD.float())
        code_B = (codes.values_NK * (codes.indices_NK == self.feature)).sum(1).double()
        lacking_B = (pre_BF[:, self.feature].double() - self.threshold).clamp(max=BELOW)
        return decided(torch.where(code_B > 0, code_B - self.threshold, lacking_B))


def last_activation(model: Model, inputs: Mapping[str, Any], hookpoint: str) -> Float[Tensor, "B D"]:
    """The activation at each row's last token; keeps the gradient graph. Ends the forward behind the hookpoint."""
    with record(model, hookpoint) as recorded:
        model.network(**inputs, use_cache=False)
    (x_BSD,) = recorded.values()
    return x_BSD[:, -1]
