"""Taking up a finished dictionary as the start of another training run: the folded weights, scaled back."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Rule
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError


def adopted(dictionary: Dictionary, *, shape: Sequence[int], rule: Rule, subtract_b_dec: bool, scale: float) -> Weights:
    """The dictionary's weights for activations multiplied by `scale`: biases and thresholds grow with it, rows stay.

    `shape` is (D, F). Where only the subtraction of `b_dec` differs, `b_enc` takes up the difference. Raises
    ConfigError when size or rule are not those of the kind that is to go on with it.
    """
    if (dictionary.d_model, dictionary.n_features) != tuple(shape):
        found = f"{dictionary.n_features} features over width {dictionary.d_model}"
        raise ConfigError(f"the dictionary to start from has {found}, this kind is set to {shape[1]} over {shape[0]}")
    if dictionary.rule != rule:
        raise ConfigError(f"the dictionary to start from keeps {dictionary.rule}, this kind keeps {rule}")
    if dictionary.normalise is not None or dictionary.weights.gain is not None:
        reason = "normalises each token" if dictionary.normalise else "has a gain for each feature"
        raise ConfigError(f"the dictionary to start from {reason}, which no kind here trains with; it is for reading")
    weights = dictionary.weights
    b_enc_F = weights.b_enc
    if dictionary.subtract_b_dec and not subtract_b_dec:
        b_enc_F = b_enc_F - weights.b_dec @ weights.W_enc
    elif subtract_b_dec and not dictionary.subtract_b_dec:
        b_enc_F = b_enc_F + weights.b_dec @ weights.W_enc
    threshold = None if weights.threshold is None else weights.threshold * scale
    return dataclasses.replace(weights, b_enc=b_enc_F * scale, b_dec=weights.b_dec * scale, threshold=threshold)


def take_over(
    weights: Weights, W_enc_FD: nn.Parameter, b_enc_F: nn.Parameter, W_dec_FD: nn.Parameter, b_dec_D: nn.Parameter
) -> None:
    """Copy weights into the parameters of a trainee, whose encoder has a row for each feature."""
    with torch.no_grad():
        W_enc_FD.copy_(weights.W_enc.T)
        b_enc_F.copy_(weights.b_enc)
        W_dec_FD.copy_(weights.W_dec)
        b_dec_D.copy_(weights.b_dec)
