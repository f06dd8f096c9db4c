"""Schedules: how strong an operation is at each token of a generation, as a factor of what it would do.

Prompt tokens get the factor with which a schedule begins.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.steering.numbers import is_number, is_whole
from bathyscope.steering.operations.features import codes_of, require_features
from bathyscope.steering.passing import Passing


@runtime_checkable
class Schedule(Protocol):
    """A factor for each token."""

    def factors(
        self, passing: Passing, x_BSD: Float[Tensor, "B S D"], carried_B: Float[Tensor, " B"] | None
    ) -> tuple[Float[Tensor, "B S"], Float[Tensor, " B"] | None]:
        """Factors of the passing tokens, and what is carried on to the next forward of the same rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """From `first` to `last` in equal steps over `n_tokens` generated tokens, then `last`."""

    n_tokens: int
    """Generated tokens until `last` is reached."""
    first: float = 0.0
    """Factor of the prompt and of the first generated token."""
    last: float = 1.0
    """Factor from token `n_tokens` on."""

    def __post_init__(self) -> None:
        is_count = is_whole(self.n_tokens) and self.n_tokens >= 1
        if not (is_count and is_number(self.first) and is_number(self.last)):
            raise ConfigError(f"a ramp over {self.n_tokens} tokens from {self.first} to {self.last} is no ramp")

    def factors(
        self, passing: Passing, x_BSD: Tensor, carried_B: Tensor | None
    ) -> tuple[Float[Tensor, "B S"], Tensor | None]:
        """Linear in the number of the generated token."""
        share_BS = (passing.step_BS.float() / self.n_tokens).clamp(0, 1)
        return self.first + (self.last - self.first) * share_BS, carried_B


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """Full strength in the prompt and at the first generated token, then half of it after every `half_life` tokens."""

    half_life: float
    """Generated tokens after which half is left."""

    def __post_init__(self) -> None:
        if not (is_number(self.half_life) and self.half_life > 0):
            raise ConfigError(f"half_life is {self.half_life}, expected a number of tokens above 0")

    def factors(
        self, passing: Passing, x_BSD: Tensor, carried_B: Tensor | None
    ) -> tuple[Float[Tensor, "B S"], Tensor | None]:
        """2 to the power of minus the number of half lives."""
        return torch.exp2(-passing.step_BS.clamp_min(0).float() / self.half_life), carried_B


@dataclass(frozen=True, slots=True, kw_only=True)
class Toward:
    """As much as is needed: a controller that reads a feature before the edit and leads it to a target.

    factor ← clip(factor + gain · (target - code / observed maximum), 0, most) after every token, special ones aside.
    The reading is of what the text itself carries: once the text is about the feature, steering fades by itself.
    """

    dictionary: Dictionary
    """Dictionary of the operation's hookpoint."""
    feature: int
    """The feature that is read."""
    target: float
    """Where its code should be, in observed maxima."""
    gain: float = 0.1
    """How fast the factor follows."""
    first: float = 1.0
    """Factor at the first token."""
    most: float = 4.0
    """Largest factor."""

    def __post_init__(self) -> None:
        require_features(self.dictionary, [self.feature])
        observed = self.dictionary.max_activation
        if observed is None or float(observed[self.feature]) <= 0:
            raise ConfigError(f"feature {self.feature} has no observed maximum, so a target in it has no meaning")
        are_numbers = all(map(is_number, (self.gain, self.first, self.most, self.target)))
        if not (are_numbers and self.gain > 0 and 0 <= self.first <= self.most):
            raise ConfigError("gain must be above 0, first between 0 and most, and target a number")

    def factors(
        self, passing: Passing, x_BSD: Tensor, carried_B: Tensor | None
    ) -> tuple[Float[Tensor, "B S"], Tensor | None]:
        """The factor of each token is the one that the tokens before it have led to."""
        assert self.dictionary.max_activation is not None
        unit = float(self.dictionary.max_activation[self.feature])
        read_BS = codes_of(self.dictionary, x_BSD.flatten(0, 1).float(), [self.feature]).view(x_BSD.shape[:2]) / unit
        factor_B = torch.full_like(read_BS[:, 0], self.first) if carried_B is None else carried_B
        counts_BS = passing.is_real_BS & ~passing.is_special_BS
        found: list[Tensor] = []
        for read_B, counts_B in zip(read_BS.unbind(1), counts_BS.unbind(1), strict=True):
            found.append(factor_B)
            next_B = (factor_B + self.gain * (self.target - read_B)).clamp(0, self.most)
            factor_B = torch.where(counts_B, next_B, factor_B)
        return torch.stack(found, dim=1), factor_B
