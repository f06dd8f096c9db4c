"""`Strength`: a number with its unit. Activations of one layer can be a hundred times as long as another's."""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.models.hooks import run
from bathyscope.models.model import Model
from bathyscope.models.prompts import special_tokens, text_tokens
from bathyscope.steering.numbers import is_number, is_whole


@dataclass(frozen=True, slots=True)
class Strength:
    """`value` units of a stated length."""

    value: float
    """How many; negative turns a direction round."""
    unit: float
    """Length of one unit, in units of the activations."""
    name: str
    """What the unit is, such as `typical norm of layers.15`."""

    def __post_init__(self) -> None:
        if not (is_number(self.value) and is_number(self.unit) and self.unit > 0):
            raise ConfigError(f"a strength of {self.value} × {self.unit} ({self.name}) is no length")

    @property
    def amount(self) -> float:
        """In units of the activations."""
        return self.value * self.unit

    @classmethod
    def of_norm(cls, value: float, typical: float, *, hookpoint: str) -> "Strength":
        """In multiples of the layer's typical norm, see `typical_norm`."""
        return cls(value, typical, f"typical norm of {hookpoint}")

    @classmethod
    def of_maximum(cls, value: float, dictionary: Dictionary, feature: int) -> "Strength":
        """In multiples of a feature's largest code seen in training. Raises ConfigError where none was seen."""
        if not is_whole(feature):
            raise ConfigError(f"feature is {feature!r}, expected a whole number")
        dictionary.direction(feature)
        observed = dictionary.max_activation
        if observed is None or float(observed[feature]) <= 0:
            raise ConfigError(f"feature {feature} has no observed maximum, so a multiple of it has no meaning")
        return cls(value, float(observed[feature]), f"observed maximum of feature {feature}")


def require_strength(strength: object, *, of: str) -> None:
    """Raise ConfigError naming the operation for a bare number, or anything else that is no Strength."""
    if not isinstance(strength, Strength):
        raise ConfigError(
            f"{of} needs a strength with its unit, found {reprlib.repr(strength)}; give Strength.of_norm(…) or "
            "Strength.of_maximum(…)"
        )


def typical_norm(model: Model, hookpoint: str, texts: Sequence[str]) -> float:
    """Median length of the activations of all tokens of `texts` but special ones: the unit of `Strength.of_norm`."""
    if isinstance(texts, str):
        raise ConfigError("a typical norm is measured on a list of texts, found one text; write [text]")
    special, norms = special_tokens(model), list[float]()
    for text in texts:
        tokens = text_tokens(model, text)
        (x_BSD,) = run(model, torch.tensor([tokens]), hookpoint).values()
        norms += [
            float(norm)
            for token, norm in zip(tokens, x_BSD[0].float().norm(dim=1), strict=True)
            if token not in special
        ]
    if not norms:
        raise ConfigError("no text has an ordinary token: a typical norm needs some")
    return sorted(norms)[len(norms) // 2]
