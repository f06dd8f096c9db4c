"""`explain`: words for every feature of an index by several methods side by side, each beside what it has to beat.

Two of the methods are ours and read the text on which a feature fires, one reads the feature's direction, four are
baselines. Whatever is read off text comes from the explaining half of the documents; the other half is for scores.
"""

import itertools
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from bathyscope import artifacts, progress
from bathyscope.activations.match import require_same_model, shared_hookpoint
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError, ModelError
from bathyscope.explanations.by_direction import DirectionWords, words_of_directions
from bathyscope.explanations.by_text import TextWords, words_of_text
from bathyscope.explanations.evidence import Evidence, read_evidence
from bathyscope.explanations.firing_information import FiringInformation
from bathyscope.explanations.lens import Lens, fit_lens
from bathyscope.explanations.methods import DEFAULT_ORDER, METHODS, OF_DIRECTION
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.explanations.ranked import Ranked, table_columns
from bathyscope.explanations.reader import (
    DOCUMENTS_FILE,
    EVIDENCE_FILE,
    FEATURES_PER_GROUP,
    KIND,
    RANDOM_FILE,
    SCHEMA,
    SUMMARY_FILE,
    WORDS,
    WORDS_FILE,
    Explanations,
    Word,
)
from bathyscope.explanations.reading import choose_documents, read_documents
from bathyscope.explanations.usage import usage
from bathyscope.features.layout import TableWriter
from bathyscope.features.reader import FeatureIndex
from bathyscope.files import write_atomic
from bathyscope.models.model import Model
from bathyscope.models.vision import Readable

__all__ = ["Explanations", "FiringInformation", "MutualInformation", "Word", "explain"]

log = logging.getLogger(__name__)

DEFAULT = MutualInformation()
FIRING = FiringInformation()
"""The settings that `explain` uses unless told otherwise."""


def explain(
    index: FeatureIndex,
    method: MutualInformation = DEFAULT,
    *,
    model: Readable,
    dictionary: Dictionary,
    activations: ActivationStore | None = None,
    firing: FiringInformation = FIRING,
    out: str | Path | None = None,
) -> Explanations:
    """Words for every feature that fires, in the folder `out` (kind `explanations`; default: beside the index).

    With `activations` (the store that was indexed) words are read off the explaining half of its documents, and name
    the features; without, only directions are put into words. Raises ConfigError or ModelError when index,
    dictionary, activations and model do not belong together, or the model has no words.
    """
    out = index.path.parent / KIND if out is None else Path(out)
    _require_match(index, model, dictionary, activations)
    job = _Job(index, method, firing, with_words(model), dictionary, activations)
    if not artifacts.is_finished(out, job.recipe()):
        if activations is None:
            log.info("no activations given: features are put into words by their directions alone")
        with artifacts.draft(out, job.recipe()) as work:
            _write(job, work)
    return Explanations(out)


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call was asked for."""

    index: FeatureIndex
    method: MutualInformation
    firing: FiringInformation
    model: Model
    dictionary: Dictionary
    activations: ActivationStore | None

    def recipe(self) -> Recipe:
        """Everything that decides the bytes."""
        parents = {"features": self.index.path}
        if self.activations is not None:
            parents["activations"] = self.activations.path
        return Recipe(
            kind=KIND,
            schema=SCHEMA,
            config={
                "method": self.method,
                "firing": None if self.activations is None else self.firing,
                "dictionary": self.dictionary.digest,
                "model": dict(self.model.identity),
            },
            seed=self.method.seed,
            parents=parents,
            materials=tuple(self.index.manifest.materials),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfText:
    """What was read off the explaining documents."""

    documents: Int[np.ndarray, " M"]
    n_tokens: int
    words: TextWords
    evidence: Evidence


def _write(job: _Job, work: Draft) -> None:
    """All files of the folder."""
    text = None if job.activations is None else _read_text(job, job.activations, work)
    work.log(stage="text")
    fires = job.index.features["n_fires"].to_numpy() > 0
    features = np.flatnonzero(fires if text is None else fires | (text.evidence.n_firings > 0))
    if len(features) == 0:
        raise ConfigError(f"no feature of {job.index.path} ever fires: there is nothing to explain")
    lens = _fitted_lens(job, text)
    directions = words_of_directions(
        job.index, job.method, features, model=job.model, dictionary=job.dictionary, lens=lens
    )
    figures = _write_words(work, features, text, directions)
    work.log(stage="words")
    if lens is not None:
        lens.save(work.path)
    random = directions.of_random()
    columns = table_columns(np.arange(len(random.words)), [random])
    pq.write_table(pa.table(columns, schema=WORDS), work.path / RANDOM_FILE, compression="zstd")
    if text is not None:
        pq.write_table(text.evidence.table(), work.path / EVIDENCE_FILE, compression="zstd")
        documents = {"seed": job.method.seed, "explaining": text.documents.tolist()}
        write_atomic(work.path / DOCUMENTS_FILE, json.dumps(documents).encode())
    summary = {**_summary(job, text, directions, lens), **figures}
    write_atomic(work.path / SUMMARY_FILE, json.dumps(summary, indent=1, sort_keys=True).encode())


def _read_text(job: _Job, store: ActivationStore, work: Draft) -> _OfText:
    seed, n = job.method.seed, job.method.words_per_feature
    documents = choose_documents(store, "explaining", seed=seed, n_tokens=job.firing.n_tokens)
    reading = read_documents(store, job.dictionary, documents, job.index.vocabulary, work=work)
    return _OfText(
        documents=documents,
        n_tokens=reading.corpus.n_rows,
        words=words_of_text(reading, job.firing, job.index.vocabulary, n=n, seed=seed),
        evidence=read_evidence(reading, min_firings=job.firing.min_firings),
    )


def _fitted_lens(job: _Job, text: _OfText | None) -> Lens | None:
    if job.method.lens == "final-norm":
        return None
    if job.activations is None or text is None:
        raise ConfigError("the affine lens is fitted on activations; give the store that was indexed")
    return fit_lens(
        job.model,
        job.activations,
        shared_hookpoint(job.dictionary, job.activations),
        explaining=text.documents,
        scoring=choose_documents(job.activations, "scoring", seed=job.method.seed, n_tokens=None),
        n_tokens=job.method.lens_tokens,
    )


def _write_words(
    work: Draft, features: Int[np.ndarray, " F"], text: _OfText | None, directions: DirectionWords
) -> dict[str, Any]:
    """Write `words.parquet`, one row group of features at a time; returns figures over all features."""
    n_beating, used = 0, {name: list[np.ndarray]() for name in OF_DIRECTION}
    breaks = np.flatnonzero(np.diff(features // FEATURES_PER_GROUP)) + 1
    with TableWriter(work.path / WORDS_FILE, WORDS, features_per_group=FEATURES_PER_GROUP) as writer:
        for start, stop in itertools.pairwise([0, *breaks.tolist(), len(features)]):
            own = features[start:stop]
            parts = [*directions.ranked(slice(start, stop))]
            n_beating += int((parts[0].beats_null[:, 0]).sum()) if parts[0].beats_null is not None else 0
            for part in parts:
                used[part.method].append(part.words)
            parts += [] if text is None else [part.take(own) for part in text.words.parts]
            writer.write(table_columns(own, sorted(parts, key=_order)))
            progress.report("explain", stop, len(features), "features")
    words = directions.vocabulary.words
    number = {word: i for i, word in enumerate(words)}
    numbers = {
        name: np.vectorize(number.__getitem__, otypes=[np.int64])(np.concatenate(own)) for name, own in used.items()
    }
    return {
        "share_beating_null": n_beating / len(features),
        "usage": {name: usage(own, words)._asdict() for name, own in numbers.items()},
    }


def _order(part: Ranked) -> int:
    return METHODS.index(part.method)


def _summary(job: _Job, text: _OfText | None, directions: DirectionWords, lens: Lens | None) -> dict[str, Any]:
    """Vocabulary, temperature, nulls, and what was read."""
    words = directions.vocabulary
    n_filled = words.counts.count(0)
    methods = [name for name in METHODS if text is not None or name in OF_DIRECTION]
    found = {
        "methods": methods,
        "default_method": next(name for name in DEFAULT_ORDER if name in methods),
        "n_words": len(words.words),
        "n_words_from_text": len(words.words) - n_filled,
        "n_words_from_tokenizer": n_filled,
        "vocabulary_sha256": words.digest,
        "n_explained": len(directions.words.U_FD),
        "tau": directions.words.tau,
        "k": job.method.k,
        "null": f"best score of {job.method.n_random} random directions, quantile {job.method.null_quantile}",
        "null_score": directions.null_score,
    }
    if lens is not None:
        found["lens"] = {"r2": lens.r2, "r2_identity": lens.r2_identity, "n_tokens": lens.n_tokens}
    if text is not None:
        found["text"] = {
            "n_tokens": text.n_tokens,
            "n_documents": len(text.documents),
            "n_units": text.words.n_units,
            "n_discovered": text.words.n_discovered,
            "statuses": text.evidence.counts(),
            "null": f"best unit under {job.firing.n_shifts} circular shifts within documents",
        }
    return found


def with_words(model: Readable) -> Model:
    """The model, if it is one of language. Raises ModelError for another."""
    if isinstance(model, Model):
        return model
    raise ModelError(
        f"{model.name} reads images: it has no unembedding, and its features cannot be put into words; search its "
        "index by the patches that features peak on, or by neighbours"
    )


def _require_match(
    index: FeatureIndex, model: Readable, dictionary: Dictionary, activations: ActivationStore | None
) -> None:
    require_same_model(model, dictionary, activations)
    if index.summary["dictionary"] != dictionary.digest:
        raise ConfigError(f"{index.path} indexes another dictionary; give the one that it was made with")
    if dictionary.d_model != model.d_model:
        raise ModelError(
            f"the dictionary has width {dictionary.d_model} and {model.name} width {model.d_model}: its directions "
            "do not reach the unembedding and cannot be put into words"
        )
    if activations is None:
        return
    hookpoint = shared_hookpoint(dictionary, activations)
    if index.summary["hookpoint"] != hookpoint:
        raise ConfigError(
            f"{index.path} was made at {index.summary['hookpoint']}, {activations.path} holds {hookpoint}; give the "
            "activations that were indexed"
        )
