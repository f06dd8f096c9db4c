"""Finding features: by the token they peak on, by what fires on a prompt, or by prompts with it and prompts without.

Neighbours of a known feature stand in the index itself (`FeatureIndex.feature`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.features.prompt import prompt_codes, prompt_maxima
from bathyscope.features.reader import FeatureIndex
from bathyscope.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A feature that a search came upon."""

    feature: int
    score: float
    """What it was ranked by, see the search."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Firing:
    """A feature that fires on a prompt, token by token."""

    feature: int
    score: float
    """Its pooled value, see `search_activation`."""
    token: int
    """Place of its highest value among the prompt's tokens."""
    values: Float[np.ndarray, " S"]
    """Its value at each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFirings:
    """What fires on a prompt."""

    tokens: tuple[int, ...]
    """The prompt's tokens, BOS left out."""
    n_firing: int
    """Features that fire on at least one of them."""
    found: list[Firing]
    """The features of highest score."""


Pool = Literal["max", "mean", "last"]
"""How the values at the tokens become one score: the highest, their mean, or that of the last token."""


def search_token(index: FeatureIndex, token: int | str, *, n: int = 20) -> list[Found]:
    """The features that peak on a token, by the share of their top examples that do; ties by the lower number.

    A string means every token that reads like it, spaces around it and case aside.
    Raises ConfigError when no token reads so.
    """
    ids = [token] if isinstance(token, int) else _readings(index, token)
    if not ids:
        raise ConfigError(f"no token of this vocabulary reads {token!r}; give a shorter piece of text or a token id")
    table = index.all_examples(columns=["feature", "group", "token"])
    top = np.flatnonzero(table["group"].to_numpy(zero_copy_only=False) == "top")
    features, peaks = table["feature"].to_numpy()[top], index.tokens[table["token"].to_numpy()[top]]
    shown = np.bincount(features, minlength=index.n_features)
    share = np.bincount(features[np.isin(peaks, ids)], minlength=index.n_features) / np.maximum(shown, 1)
    return _best(share, n)


def search_prompts(
    model: Model,
    dictionary: Dictionary,
    index: FeatureIndex,
    prompts: Sequence[str],
    *,
    without: Sequence[str] = (),
    n: int = 20,
) -> list[Found]:
    """The features that fire on every one of `prompts` and on none of `without`, the most outstanding first.

    The score is the lowest, over the prompts, of the feature's highest value there as a share of its maximum in the
    index (of its highest value here where that is larger): 1 where every prompt drives it as far as anything does.
    """
    if not prompts:
        raise ConfigError("no prompt to search by; give at least one")
    require_own_index(index, dictionary)
    there = torch.stack([prompt_maxima(model, dictionary, prompt) for prompt in prompts]).cpu().numpy()
    reach = np.maximum(index.features["max"].to_numpy(), there.max(axis=0))
    score = np.divide(there.min(axis=0), reach, out=np.zeros_like(reach), where=reach > 0)
    for prompt in without:
        score[prompt_maxima(model, dictionary, prompt).cpu().numpy() > 0] = 0
    return _best(score, n)


def search_activation(
    model: Model,
    dictionary: Dictionary,
    prompt: str,
    *,
    index: FeatureIndex | None = None,
    pool: Pool = "max",
    n: int = 20,
) -> PromptFirings:
    """The features that fire on a prompt, all at once: token by token, and ranked by their pooled value.

    With `index`, values are shares of the feature's maximum there (of its highest value here where that is larger), so
    that a feature that is always large does not lead every list; without, they are the codes themselves.
    """
    codes_SF, tokens_S = prompt_codes(model, dictionary, prompt)
    values_SF = codes_SF.double().cpu().numpy()
    if index is not None:
        require_own_index(index, dictionary)
        reach_F = np.maximum(index.features["max"].to_numpy(), values_SF.max(axis=0))
        values_SF = np.divide(values_SF, reach_F, out=np.zeros_like(values_SF), where=reach_F > 0)
    score_F = {"max": values_SF.max(axis=0), "mean": values_SF.mean(axis=0), "last": values_SF[-1]}[pool]
    found = [
        Firing(feature=one.feature, score=one.score, token=int(values.argmax()), values=values)
        for one in _best(score_F, n)
        for values in [values_SF[:, one.feature]]
    ]
    n_firing = int((values_SF > 0).any(axis=0).sum())
    return PromptFirings(tokens=tuple(tokens_S.tolist()), n_firing=n_firing, found=found)


def require_own_index(index: FeatureIndex, dictionary: Dictionary) -> None:
    """Raise ConfigError when `index` was made with another dictionary: its feature numbers mean other features."""
    if index.summary["dictionary"] != dictionary.digest:
        raise ConfigError(f"{index.path} indexes another dictionary; give the one that it was made with")


def _readings(index: FeatureIndex, text: str) -> list[int]:
    wanted = text.strip().casefold()
    strings = index.token_strings(range(len(index.vocabulary.pieces)))
    return [i for i, string in enumerate(strings) if string.strip().casefold() == wanted]


def _best(score: Float[np.ndarray, " F"], n: int) -> list[Found]:
    """The `n` features of highest positive score."""
    order = np.argsort(-score, kind="stable")[:n]
    return [Found(feature=int(f), score=float(score[f])) for f in order if score[f] > 0]
