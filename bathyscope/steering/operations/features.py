"""Reading the chosen features of a dictionary, and refusing those that cannot steer."""

import reprlib
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above, Linear, Positive
from bathyscope.errors import ConfigError
from bathyscope.steering.numbers import is_whole


def codes_of(dictionary: Dictionary, x_ND: Float[Tensor, "N D"], features: Sequence[int]) -> Float[Tensor, "N M"]:
    """Codes of the chosen features. Where a feature's code depends on no other, only those columns are computed."""
    if isinstance(dictionary.rule, Positive | Above | Linear) and dictionary.weights.gain is None:
        pre_NM = pre_of(dictionary, x_ND, features)
        threshold_F = dictionary.threshold
        threshold_M = None if threshold_F is None else threshold_F[list(features)]
        return dictionary.rule.keep(pre_NM, threshold_M).dense()
    codes = dictionary.encode(x_ND)
    return torch.stack([(codes.values_NK * (codes.indices_NK == f)).sum(1) for f in features], dim=1)


def pre_of(dictionary: Dictionary, x_ND: Float[Tensor, "N D"], features: Sequence[int]) -> Float[Tensor, "N M"]:
    """Pre-activations of the chosen features."""
    chosen = list(features)
    centred_ND = x_ND - dictionary.b_dec if dictionary.subtract_b_dec else x_ND
    return torch.addmm(dictionary.b_enc[chosen], centred_ND, dictionary.W_enc[:, chosen])


def hookpoint_of(dictionary: Dictionary) -> str:
    """The hookpoint that a checked dictionary was trained on."""
    assert dictionary.hookpoint is not None
    return dictionary.hookpoint


def require_features(dictionary: object, features: object) -> None:
    """Raise ConfigError when the dictionary cannot steer, or for anything but a list of its features, each once."""
    if not isinstance(dictionary, Dictionary):
        raise ConfigError(
            f"a dictionary is expected, found {reprlib.repr(dictionary)}; open a folder with load_dictionary"
        )
    dictionary.require_one_place("steering")
    if dictionary.hookpoint is None:
        raise ConfigError("this dictionary does not say which hookpoint it was trained on, so it cannot steer a model")
    if dictionary.normalise is not None:
        raise ConfigError(
            f"this dictionary normalises each token ({dictionary.normalise}): its codes are not lengths in the model's "
            "activations, so it cannot steer by them; use Add with one of its directions"
        )
    numbers = f"whole numbers from 0 to {dictionary.n_features - 1}"
    if not isinstance(features, list | tuple) or not features:
        raise ConfigError(f"features {reprlib.repr(features)}: give a list of {numbers}")
    wrong = [f for f in features if not (is_whole(f) and 0 <= f < dictionary.n_features)]
    if wrong:
        raise ConfigError(f"features {reprlib.repr(wrong)}: give {numbers}")
    if len(set(features)) < len(features):
        raise ConfigError(f"features {reprlib.repr(list(features))}: give each once")
