"""Gates: whether an operation acts at a token at all, told from the activation there before the edit."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.steering.numbers import require_number
from bathyscope.steering.operations.directions import require_direction
from bathyscope.steering.operations.features import codes_of, require_features


@runtime_checkable
class Gate(Protocol):
    """A yes or no for each token."""

    def opens(self, x_ND: Float[Tensor, "N D"]) -> Bool[Tensor, " N"]:
        """Whether the operation acts; of one token alone, never of its neighbours."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGate:
    """Opens where the mean code of some features, each in observed maxima and at least 0, reaches a bound."""

    dictionary: Dictionary
    """Dictionary of the operation's hookpoint."""
    features: tuple[int, ...] | list[int]
    """The trigger set."""
    least: float
    """Bound, in observed maxima."""

    def __post_init__(self) -> None:
        require_features(self.dictionary, self.features)
        observed = self.dictionary.max_activation
        if observed is None or bool((observed[list(self.features)] <= 0).any()):
            raise ConfigError("the gate's features need observed maxima above 0: the bound is a multiple of them")
        require_number(self.least, "least", "a finite number of observed maxima")

    def opens(self, x_ND: Float[Tensor, "N D"]) -> Bool[Tensor, " N"]:
        """Mean of the positive codes against the bound."""
        assert self.dictionary.max_activation is not None
        unit_M = self.dictionary.max_activation[list(self.features)]
        return (codes_of(self.dictionary, x_ND, self.features).clamp_min(0) / unit_M).mean(1) >= self.least


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeGate:
    """Opens where a linear probe says yes: `x·w + bias > 0`."""

    weight_D: Float[Tensor, " D"]
    """w."""
    bias: float
    """What is added to the product."""

    def __post_init__(self) -> None:
        require_direction(self.weight_D, name="the gate's weight")
        require_number(self.bias, "bias")

    def opens(self, x_ND: Float[Tensor, "N D"]) -> Bool[Tensor, " N"]:
        """The probe's sign."""
        return torch.mv(x_ND, self.weight_D.float().to(x_ND.device)) + self.bias > 0
