"""`explain`: words for every feature of an index, two baselines beside them, and a null that they have to beat."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError, ModelError
from bathyscope.explanations.contexts import ContextWords
from bathyscope.explanations.mutual_information import MutualInformation, WordModel, WordScores
from bathyscope.explanations.reader import (
    FEATURES_PER_GROUP,
    KIND,
    METHODS,
    SUMMARY_FILE,
    WORDS,
    WORDS_FILE,
    Explanations,
    Word,
)
from bathyscope.explanations.usage import usage
from bathyscope.explanations.vocabulary import Vocabulary, build_vocabulary, word_vectors
from bathyscope.features.layout import TableWriter
from bathyscope.features.logits import through_final_norm
from bathyscope.features.reader import FeatureIndex
from bathyscope.files import write_atomic
from bathyscope.models.model import Model

__all__ = ["Explanations", "MutualInformation", "Word", "explain"]

DEFAULT = MutualInformation()
"""The method and settings that `explain` uses unless told otherwise."""


def explain(
    index: FeatureIndex,
    method: MutualInformation = DEFAULT,
    *,
    model: Model,
    dictionary: Dictionary,
    out: str | Path | None = None,
) -> Explanations:
    """Words for every feature that fires, in the folder `out` (kind `explanations`; default: beside the index).

    Beside the words by mutual information stand those by the bare logit over the same vocabulary, and the words that
    carry the activation in the top examples. `beats_null` compares a word's score with the best scores of random
    directions. Raises ConfigError or ModelError when index, dictionary and model do not belong together.
    """
    out = index.path.parent / KIND if out is None else Path(out)
    _require_match(index, model, dictionary)
    recipe = Recipe(
        kind=KIND,
        config={"method": method, "dictionary": dictionary.digest, "model": dict(model.identity)},
        seed=method.seed,
        parents={"features": index.path},
        materials=tuple(index.manifest.materials),
    )
    if not artifacts.is_finished(out, recipe):
        job = _prepare(index, method, model=model, dictionary=dictionary)
        with artifacts.draft(out, recipe) as work:
            with TableWriter(work.path / WORDS_FILE, WORDS, features_per_group=FEATURES_PER_GROUP) as writer:
                for rows in job.rows():
                    writer.write(rows)
            summary = json.dumps(job.summary(), indent=1, sort_keys=True)
            write_atomic(work.path / SUMMARY_FILE, summary.encode())
    return Explanations(out)


@dataclass(slots=True)
class _Job:
    """One explanation of one index, and what it counts on the way."""

    method: MutualInformation
    features: Int[np.ndarray, " F"]
    """The features that fire."""
    vocabulary: Vocabulary
    n_word_tokens: Int[np.ndarray, " V"]
    words: WordModel
    contexts: ContextWords
    null_score: float
    used: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in METHODS[:2]})
    n_beating: int = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """Columns of `words.parquet`, one row group of features at a time."""
        breaks = np.flatnonzero(np.diff(self.features // FEATURES_PER_GROUP)) + 1
        edges = [0, *breaks.tolist(), len(self.features)]
        for start, stop in itertools.pairwise(edges):
            yield self._columns(self.features[start:stop], self.words.U_FD[start:stop])
            progress.report("explain", stop, len(self.features), "features")

    def summary(self) -> dict[str, Any]:
        """Figures over all features."""
        words, n_filled = self.vocabulary, self.vocabulary.counts.count(0)
        return {
            "methods": list(METHODS),
            "n_words": len(words.words),
            "n_words_from_text": len(words.words) - n_filled,
            "n_words_from_tokenizer": n_filled,
            "vocabulary_sha256": words.digest,
            "n_explained": len(self.features),
            "tau": self.words.tau,
            "k": self.method.k,
            "null": f"best score of {self.method.n_random} random directions, quantile {self.method.null_quantile}",
            "null_score": self.null_score,
            "share_beating_null": self.n_beating / len(self.features),
            "usage": {name: usage(np.concatenate(used), words.words)._asdict() for name, used in self.used.items()},
        }

    def _columns(self, features: Int[np.ndarray, " C"], U_CD: Float[Tensor, "C D"]) -> dict[str, Any]:
        n = self.method.words_per_feature
        by_score, by_logit = self.words.ranked(U_CD, n=n), self.words.ranked(U_CD, n=n, by_logit=True)
        self.n_beating += int((by_score.scores[:, 0] > self.null_score).sum())
        for name, found in zip(METHODS, (by_score, by_logit), strict=False):
            self.used[name].append(found.words.numpy())
        columns: dict[str, list[Any]] = {name: [] for name in WORDS.names}
        for place, feature in enumerate(features.tolist()):
            self._add(columns, feature, METHODS[0], by_score, place)
            self._add(columns, feature, METHODS[1], by_logit, place)
            for rank, (word, share) in enumerate(self.contexts.words(feature, n=n)):
                _append(columns, feature, METHODS[2], rank, word, None, share, share, None, None)
        return columns

    def _add(self, columns: dict[str, list[Any]], feature: int, method: str, found: WordScores, place: int) -> None:
        """Append one feature's words by one of the two vocabulary methods."""
        for rank, word in enumerate(found.words[place].tolist()):
            score = float(found.scores[place, rank])
            beats = score > self.null_score if method == METHODS[0] else None
            p_word, p_feature = float(found.p_word[place, rank]), float(found.p_feature[place, rank])
            n_tokens = int(self.n_word_tokens[word])
            _append(
                columns, feature, method, rank, self.vocabulary.words[word], n_tokens, score, p_word, p_feature, beats
            )


def _append(columns: dict[str, list[Any]], *row: Any) -> None:
    for name, value in zip(WORDS.names, row, strict=True):
        columns[name].append(value)


def _prepare(index: FeatureIndex, method: MutualInformation, *, model: Model, dictionary: Dictionary) -> _Job:
    """Vocabulary, word vectors, directions and null. Raises ConfigError when there is nothing to explain."""
    features = np.flatnonzero(index.features["n_fires"].to_numpy())
    if len(features) == 0:
        raise ConfigError(f"no feature of {index.path} ever fires: there is nothing to explain")
    vocabulary = build_vocabulary(index.word_counts, index.vocabulary, method.vocabulary, n_words=method.n_words)
    E_VD, n_word_tokens = word_vectors(model, vocabulary.words)
    directions_FD = dictionary.W_dec if method.direction == "decoder" else dictionary.W_enc.T
    U_FD = through_final_norm(model, directions_FD[torch.from_numpy(features)]).cpu()
    words = WordModel.fit(U_FD, E_VD, k=method.k, bayes=method.bayes)
    return _Job(
        method=method,
        features=features,
        vocabulary=vocabulary,
        n_word_tokens=n_word_tokens,
        words=words,
        contexts=ContextWords(index),
        null_score=null_score(words, model, method),
    )


def null_score(words: WordModel, model: Model, method: MutualInformation) -> float:
    """The `null_quantile` of the best word's score over random directions, put through the same pipeline."""
    generator = torch.Generator().manual_seed(method.seed)
    random_RD = torch.randn(method.n_random, model.d_model, generator=generator)
    U_RD = through_final_norm(model, random_RD).cpu()
    best_R = torch.cat([words.best_as_newcomer(chunk) for chunk in U_RD.split(FEATURES_PER_GROUP)])
    return float(best_R.quantile(method.null_quantile))


def _require_match(index: FeatureIndex, model: Model, dictionary: Dictionary) -> None:
    if index.summary["dictionary"] != dictionary.digest:
        raise ConfigError(f"{index.path} indexes another dictionary; give the one that it was made with")
    if dictionary.d_model != model.d_model:
        raise ModelError(
            f"the dictionary has width {dictionary.d_model} and {model.name} width {model.d_model}: its directions "
            "do not reach the unembedding and cannot be put into words"
        )
