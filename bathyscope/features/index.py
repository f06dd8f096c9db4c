"""`index_features`: all figures and examples of all features of a dictionary over a text, in one pass.

Cost: each token is read and encoded once; scratch space on disk is 8 bytes per non-zero code (plus the activations
themselves when a text is given instead of a store). Memory, besides model and dictionary: about 40 bytes per indexed
token, 48 · `near_misses` bytes per feature, up to 1 GB for batches and blocks; it does not grow with the number of
codes. An interrupted index goes on at the last run of codes and ends with the same bytes.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bathyscope import artifacts, runtime
from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.match import require_same_model, require_width, shared_hookpoint
from bathyscope.activations.share import Share
from bathyscope.activations.store import ActivationStore, Split
from bathyscope.activations.text import Text, open_text
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.signs import require_positive_codes
from bathyscope.errors import ConfigError
from bathyscope.features import layout
from bathyscope.features.columns import write_tables
from bathyscope.features.corpus import Corpus, stored_corpus
from bathyscope.features.encode import FRESH, Encoded, encode, encode_share, joined
from bathyscope.features.logits import writes_logits
from bathyscope.features.reader import KIND, Example, FeatureIndex, FeatureRow
from bathyscope.features.settings import DEFAULTS, IndexSettings
from bathyscope.features.size import index_bytes
from bathyscope.features.tokens import TokenTable
from bathyscope.features.words import COUNTED_TOKENS, save_counts, text_words
from bathyscope.files import write_atomic
from bathyscope.models.hookpoints import width
from bathyscope.models.model import Model
from bathyscope.models.vision import ImageModel, Readable

__all__ = ["Example", "FeatureIndex", "FeatureRow", "IndexSettings", "index_features"]

NOTES = {
    "density_interval": "95 %, Wilson at the effective sample size of a ratio estimator with documents as clusters",
    "cofiring_score": "phi: correlation of firing over tokens",
    "value_of_near_miss": "pre-activation",
}


def index_features(
    model: Readable,
    dictionary: Dictionary,
    text: ActivationStore | Text,
    *,
    out: Path,
    settings: IndexSettings = DEFAULTS,
    parts: Sequence[Path] = (),
) -> FeatureIndex:
    """The index of `dictionary` over `text`, in the folder `out` (kind `features`).

    `text` is an activation store, whose `settings.split` documents are indexed, or anything that `collect` reads, of
    which the first `settings.n_tokens` tokens are indexed whole; of an image model, a store of `collect_images`.
    With `parts`, the folders that `index_part` made of all shares of a store, in order, no row is encoded.
    Raises ConfigError or ModelError when store, dictionary and model do not belong together, DeviceError when there is
    too little memory.
    """
    dictionary.require_selection("an index of features")
    require_same_model(model, dictionary, text if isinstance(text, ActivationStore) else None)
    require_positive_codes(dictionary, "an index of features")
    hookpoint = _hookpoint(model, dictionary, text)
    recipe = _recipe(model, dictionary, text, hookpoint, settings)
    if not artifacts.is_finished(out, recipe):
        if isinstance(text, ActivationStore):
            job = _Job(
                model, dictionary, text, _corpus(text, hookpoint, settings.split, tile=settings.window), settings
            )
            with artifacts.draft(out, recipe) as work:
                _index(job, work, hookpoint=hookpoint, split=settings.split, parts=parts)
        else:
            assert isinstance(model, Model)  # `_hookpoint` refuses others
            with artifacts.draft(out, recipe) as work:
                store = _collected(model, text, hookpoint, work=work, settings=settings)
                job = _Job(model, dictionary, store, _corpus(store, hookpoint, "all", tile=settings.window), settings)
                _index(job, work, hookpoint=hookpoint, split="all")
    return FeatureIndex(out)


def index_part(
    model: Readable,
    dictionary: Dictionary,
    store: ActivationStore,
    *,
    out: Path,
    settings: IndexSettings = DEFAULTS,
    share: Share,
) -> None:
    """Encode a share of the rows that `index_features` of these arguments indexes, into a folder of kind `codes`."""
    hookpoint = _hookpoint(model, dictionary, store)
    whole = _recipe(model, dictionary, store, hookpoint, settings)
    recipe = dataclasses.replace(whole, kind="codes", config={**whole.config, "share": share})
    if not artifacts.is_finished(out, recipe):
        corpus = _corpus(store, hookpoint, settings.split, tile=settings.window)
        with artifacts.draft(out, recipe) as work:
            encode_share(corpus, dictionary, work=work, settings=settings, share=share)


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call was asked for."""

    model: Readable
    dictionary: Dictionary
    store: ActivationStore
    corpus: Corpus
    settings: IndexSettings


def _index(job: _Job, work: Draft, *, hookpoint: str, split: Split, parts: Sequence[Path] = ()) -> None:
    _require_memory(job)
    if parts:
        encoded = joined(parts, job.dictionary, settings=job.settings)
    else:
        encoded = encode(job.corpus, job.dictionary, work=work, settings=job.settings)
    work.log(stage="encode", tokens=job.corpus.n_rows)
    vocabulary = _write_text(job, work)
    logit_ids = write_tables(job.model, job.dictionary, job.corpus, encoded, work=work, settings=job.settings)
    ids = np.union1d(job.corpus.tokens, logit_ids).tolist()
    _write_json(work.path / layout.STRINGS_FILE, list(zip(ids, vocabulary.strings(ids), strict=True)), indent=None)
    work.log(stage="tables", features=job.dictionary.n_features)
    summary = {"hookpoint": hookpoint, "split": split, **_summary(job, encoded)}
    _write_json(work.path / layout.SUMMARY_FILE, summary)


def _require_memory(job: _Job) -> None:
    """Refuse what the pass over the text cannot hold."""
    needed = index_bytes(
        job.dictionary.n_features,
        n_tokens=len(job.corpus.tokens),
        near_misses=job.settings.near_misses,
        batch_tokens=job.settings.batch_tokens,
    )
    runtime.require_memory(
        needed,
        what=f"an index of {len(job.corpus.tokens):,} tokens and {job.dictionary.n_features:,} features would",
        made_of="what is known of each token, near misses, and a batch",
        remedy="index fewer tokens, or lower batch_tokens or near_misses",
    )


def _write_text(job: _Job, work: Draft) -> TokenTable:
    """Write what text is rendered and vocabularies are made from; returns the table of tokens."""
    vocabulary = TokenTable.of_model(job.model)
    vocabulary.save(work.path / layout.VOCABULARY_FILE)
    np.save(work.path / layout.TOKENS_FILE, job.corpus.tokens)
    np.save(work.path / layout.DOCUMENTS_FILE, job.corpus.documents)
    tokens, documents = np.asarray(job.store.tokens[:COUNTED_TOKENS]), np.asarray(job.store.documents[:COUNTED_TOKENS])
    save_counts(text_words(tokens, documents, vocabulary), work.path / layout.WORDS_FILE)
    labels, own = job.store.sources, np.unique(job.corpus.documents).tolist()
    _write_json(work.path / layout.SOURCES_FILE, {str(number): labels[number] for number in own})
    return vocabulary


def _summary(job: _Job, encoded: Encoded) -> dict[str, Any]:
    """Counts, and where everything comes from."""
    n_fires, corpus = encoded.postings.counts, job.corpus
    return {
        **NOTES,
        "n_tokens": corpus.n_rows,
        "n_stream_tokens": len(corpus.tokens),
        "n_documents": len(corpus.document_rows),
        "texts": job.store.description["texts"],
        "model": job.store.model_identity,
        "dictionary": job.dictionary.digest,
        "n_features": job.dictionary.n_features,
        "n_silent_features": int((n_fires == 0).sum()),
        "l0": round(float(n_fires.sum()) / corpus.n_rows, 4),
        "window": job.settings.window,
        "cofiring_tokens": len(encoded.cofiring_counts),
        "writes_logits": writes_logits(job.model, job.dictionary),
    }


def _corpus(store: ActivationStore, hookpoint: str, split: Split, *, tile: int) -> Corpus:
    """The tokens of every document that has rows in `split`, in stream order."""
    rows, documents = store.rows(split), np.asarray(store.documents)
    if len(rows) == 0:
        raise ConfigError(f"{store.path} has no {split} tokens to index; choose another split or collect more text")
    return stored_corpus(store, hookpoint, np.unique(documents[store.row_tokens()[rows]]), tile=tile)


def _collected(model: Model, text: Text, hookpoint: str, *, work: Draft, settings: IndexSettings) -> ActivationStore:
    """The activations of a text, in the draft's own scratch folder; an interrupted collection is gone on with."""
    if work.state() is None:
        work.checkpoint(FRESH)
    return collect(
        model,
        text,
        out=work.checkpoint_path / "activations",
        hookpoint=hookpoint,
        n_tokens=settings.n_tokens,
        settings=CollectSettings(seed=settings.seed, held_out=0.0),
    )


def _recipe(
    model: Readable, dictionary: Dictionary, text: ActivationStore | Text, hookpoint: str, settings: IndexSettings
) -> Recipe:
    config = {
        "settings": settings,
        "dictionary": dictionary.digest,
        "hookpoint": hookpoint,
        "model": dict(model.identity),
    }
    if isinstance(text, ActivationStore):
        parents, materials = {"activations": text.path}, text.materials
    else:
        opened = open_text(text)
        parents, materials = {}, (*model.materials, *opened.records())
        config["text"] = opened.describe()
    return Recipe(kind=KIND, config=config, seed=settings.seed, parents=parents, materials=tuple(materials))


def _hookpoint(model: Readable, dictionary: Dictionary, text: ActivationStore | Text) -> str:
    """Where the dictionary reads: its own hookpoint, or the store's only one. Raises ConfigError when they disagree."""
    if isinstance(text, ActivationStore):
        return shared_hookpoint(dictionary, text)
    if isinstance(model, ImageModel):
        raise ConfigError(f"{model.name} reads images, not text: index the store that `collect_images` made of them")
    if dictionary.hookpoint is None:
        raise ConfigError("the dictionary does not say which hookpoint it reads; index an activation store instead")
    require_width(dictionary, dictionary.hookpoint, width(model, dictionary.hookpoint))
    return dictionary.hookpoint


def _write_json(file: Path, data: Any, *, indent: int | None = 1) -> None:
    write_atomic(file, json.dumps(data, indent=indent, sort_keys=True, ensure_ascii=False).encode())
