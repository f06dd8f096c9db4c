"""What a feature reads, as tokens. The claim that steering tests: the feature also makes the model write them."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.features.index import FeatureIndex
from bathyscope.models.model import Model
from bathyscope.models.unembed import final_norm, unembedding

CHUNK_FEATURES = 256


def read_tokens(index: FeatureIndex, feature: int) -> tuple[int, ...]:
    """The distinct tokens at the peaks of the feature's top examples, commonest first; empty when it never fires."""
    peaks = [int(index.tokens[example.token]) for example in index.examples(feature, "top")]
    return tuple(sorted(dict.fromkeys(peaks), key=lambda token: (-peaks.count(token), token)))


def all_read_tokens(index: FeatureIndex) -> dict[int, NDArray[np.int64]]:
    """Per feature: the tokens at the peaks of its top examples, one for each example."""
    table = index.all_examples(["feature", "group", "token"])
    is_top = np.array(table["group"].to_pylist()) == "top"
    features = table["feature"].to_numpy()[is_top]
    tokens = np.asarray(index.tokens)[table["token"].to_numpy()[is_top]].astype(np.int64)
    edges = np.flatnonzero(np.diff(features, prepend=-1))
    return dict(zip(features[edges].tolist(), np.split(tokens, edges[1:]), strict=True))


def writes_what_it_reads(model: Model, dictionary: Dictionary, index: FeatureIndex) -> Float[NDArray[np.float64], " F"]:
    """Mean logit of a feature's own read tokens under its direction, in standard deviations over the vocabulary.

    The direction goes through the final norm and the unembedding (logit lens); -inf for a feature that never fires.
    Peak memory: 256 rows of the vocabulary.
    """
    read = all_read_tokens(index)
    scores_F = np.full(dictionary.n_features, -np.inf)
    with torch.inference_mode():
        W_VD = unembedding(model).float()
        for first in range(0, dictionary.n_features, CHUNK_FEATURES):
            directions = dictionary.W_dec[first : first + CHUNK_FEATURES].to(model.device)
            logits_FV = final_norm(model)(directions.to(model.dtype)).float() @ W_VD.T
            z_FV = (logits_FV - logits_FV.mean(1, keepdim=True)) / logits_FV.std(1, keepdim=True)
            for feature in range(first, first + len(z_FV)):
                if feature in read:
                    scores_F[feature] = float(z_FV[feature - first, torch.from_numpy(read[feature])].mean())
    return scores_F


def written_tokens(index: FeatureIndex, feature: int, *, n: int = 10) -> tuple[int, ...]:
    """The `n` tokens that the feature's direction raises most (logit lens), highest first."""
    return tuple(int(token) for token in index.feature(feature).top_tokens[:n])


def word_tokens(model: Model, words: Sequence[str]) -> tuple[int, ...]:
    """The first token of each word behind a space, each once: what must come next for the word to be written."""
    found: list[int] = []
    for word in words:
        ids = model.tokenizer(" " + word.strip(), add_special_tokens=False)["input_ids"]
        visible = [int(i) for i in ids if str(model.tokenizer.decode([i])).strip()]  # some write the space apart
        found += visible[:1]
    return tuple(dict.fromkeys(found))
