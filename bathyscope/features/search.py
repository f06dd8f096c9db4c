"""Finding features: by the token they peak on, or by prompts on which they fire and prompts on which they do not.

Neighbours of a known feature stand in the index itself (`FeatureIndex.feature`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.features.reader import FeatureIndex
from bathyscope.models.hooks import run
from bathyscope.models.model import Model
from bathyscope.models.prompts import special_tokens, text_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A feature that a search came upon."""

    feature: int
    score: float
    """What it was ranked by, see the search."""


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
    there = torch.stack([prompt_maxima(model, dictionary, prompt) for prompt in prompts]).cpu().numpy()
    reach = np.maximum(index.features["max"].to_numpy(), there.max(axis=0))
    score = np.divide(there.min(axis=0), reach, out=np.zeros_like(reach), where=reach > 0)
    for prompt in without:
        score[prompt_maxima(model, dictionary, prompt).cpu().numpy() > 0] = 0
    return _best(score, n)


def prompt_maxima(model: Model, dictionary: Dictionary, prompt: str) -> Float[Tensor, " F"]:
    """Each feature's highest value over the tokens of `prompt`, special tokens left out."""
    codes, _ = prompt_codes(model, dictionary, prompt)
    zeros_F = codes.new_zeros(codes.shape[1])
    return torch.cat([zeros_F[None], codes]).amax(dim=0)


def prompt_codes(
    model: Model, dictionary: Dictionary, prompt: str
) -> tuple[Float[Tensor, "S F"], Int[np.ndarray, " S"]]:
    """The dense codes of a prompt's tokens, special ones left out, and their ids."""
    if dictionary.hookpoint is None:
        raise ConfigError("the dictionary does not say which hookpoint it reads")
    tokens = np.array(text_tokens(model, prompt), dtype=np.int64)
    x_SD = run(model, torch.from_numpy(tokens)[None], dictionary.hookpoint)[dictionary.hookpoint][0]
    ordinary = ~np.isin(tokens, sorted(special_tokens(model)))
    x_SD = x_SD[torch.from_numpy(ordinary).to(x_SD.device)].to(dictionary.device)
    return dictionary.encode(x_SD).dense(), tokens[ordinary]


def _readings(index: FeatureIndex, text: str) -> list[int]:
    wanted = text.strip().casefold()
    strings = index.token_strings(range(len(index.vocabulary.pieces)))
    return [i for i, string in enumerate(strings) if string.strip().casefold() == wanted]


def _best(score: Float[np.ndarray, " F"], n: int) -> list[Found]:
    """The `n` features of highest positive score."""
    order = np.argsort(-score, kind="stable")[:n]
    return [Found(feature=int(f), score=float(score[f])) for f in order if score[f] > 0]
