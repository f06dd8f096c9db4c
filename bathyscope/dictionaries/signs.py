"""Signed codes as two features each: what looks only at positive codes then misses nothing.

Feature f of a signed dictionary writes +d_f or -d_f. Split, feature f holds its positive codes along d_f, and feature
F + f the sizes of its negative codes along -d_f. Reconstructions stay the same.
"""

import dataclasses
import logging

import torch
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above, Largest, LargestAbsolute, Linear, Positive, Pursuit, Rule
from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)


def is_signed(rule: Rule) -> bool:
    """Whether codes under this rule may be negative."""
    match rule:
        case LargestAbsolute() | Linear():
            return True
        case Pursuit():
            return rule.is_signed
        case Positive() | Largest() | Above():
            return False


def split_signs(dictionary: Dictionary) -> Dictionary:
    """The same dictionary with 2·F features whose codes are never negative; one without signed codes as it is.

    `encode(x)` holds `max(c_f, 0)` at f and `max(-c_f, 0)` at F + f; `reconstruct(x)` stays as it was.
    Raises ConfigError for a signed pursuit, which may take back a part of an atom that it took before: with an atom for
    each sign it would end with both.
    """
    if not is_signed(dictionary.rule):
        return dictionary
    if isinstance(dictionary.rule, Pursuit):
        raise ConfigError(f"codes of {dictionary.rule} cannot be split by sign: a pursuit may take back what it took")
    weights, highest_F, lowest_F = dictionary.weights, dictionary.max_activation, dictionary.min_activation
    both = {
        "W_enc": torch.cat([weights.W_enc, -weights.W_enc], dim=1),
        "b_enc": torch.cat([weights.b_enc, -weights.b_enc]),
        "W_dec": torch.cat([weights.W_dec, -weights.W_dec]),
        "gain": None if weights.gain is None else weights.gain.repeat(2),
    }
    observed = None if highest_F is None else torch.cat([highest_F, _sizes(lowest_F, highest_F)])
    return dataclasses.replace(
        dictionary,
        weights=dataclasses.replace(weights, **both),
        rule=Largest(k=dictionary.rule.k) if isinstance(dictionary.rule, LargestAbsolute) else Positive(),
        max_activation=observed,
        min_activation=None,
        kind=None,
        source={"split_signs_of": dictionary.digest, **(dictionary.source or {})},
    )


def require_positive_codes(dictionary: Dictionary, purpose: str) -> None:
    """Raise ConfigError with the remedy when codes may be negative; where there is none, say so in the log."""
    if isinstance(dictionary.rule, Pursuit) and dictionary.rule.is_signed:
        log.warning("%s looks at positive codes: negative codes of %s are left out", purpose, dictionary.rule)
    elif is_signed(dictionary.rule):
        raise ConfigError(
            f"{purpose} looks at positive codes, and this dictionary has signed ones ({dictionary.rule}): write it "
            "with two features for each, `bathyscope convert --split-signs`, or in Python `split_signs(dictionary)`"
        )


def _sizes(lowest_F: Tensor | None, like_F: Tensor) -> Tensor:
    """Sizes of the most negative codes, 0 where none was seen."""
    return torch.zeros_like(like_F) if lowest_F is None else (-lowest_F).clamp_min(0)
