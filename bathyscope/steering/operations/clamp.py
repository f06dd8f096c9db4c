"""`Clamp`: hold features at a multiple of the largest code seen in training."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.steering.numbers import require_number
from bathyscope.steering.operations.features import codes_of, require_features
from bathyscope.steering.operations.place import OfDictionary


@dataclass(frozen=True, slots=True)
class Clamp(OfDictionary):
    """Hold features at a value: `x' = x + Σ_f (t_f - c_f(x)) d_f`, t_f = strength × the feature's observed maximum.

    A delta on the activation, not a reconstruction: what the dictionary does not explain stays in place (the error
    term is kept), as in Scaling Monosemanticity (Templeton et al. 2024, methods: feature steering).
    """

    dictionary: Dictionary
    """Where codes, directions and observed maxima come from."""
    features: tuple[int, ...] | list[int]
    """Feature numbers to hold."""
    strength: float
    """Target in multiples of each feature's observed maximum on training data; 0 switches the features off."""

    def __post_init__(self) -> None:
        require_features(self.dictionary, self.features)
        observed = self.dictionary.max_activation
        if observed is None:
            raise ConfigError(
                "this dictionary carries no observed maxima, so a strength in multiples of them has no meaning"
            )
        require_number(self.strength, "strength", "a finite number of observed maxima")
        silent = [f for f in self.features if float(observed[f]) <= 0]
        if silent and self.strength != 0:
            raise ConfigError(
                f"feature {silent[0]} never fired on training data: its maximum is 0, choose another feature"
            )

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The move from the present codes to the targets, along the directions."""
        features = list(self.features)
        assert self.dictionary.max_activation is not None
        targets_M = self.strength * self.dictionary.max_activation[features]
        present_NM = codes_of(self.dictionary, x_ND, self.features)
        return (targets_M - present_NM) @ self.dictionary.W_dec[features]
