"""From what the pass found to the rows of the two tables: every block of features is read once."""

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from bathyscope import progress
from bathyscope.artifacts import Draft
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.features import layout
from bathyscope.features.corpus import Corpus
from bathyscope.features.density import FiringSums, cluster_size, density
from bathyscope.features.encode import Encoded
from bathyscope.features.examples import GROUPS, Examples, choose_examples
from bathyscope.features.logits import LogitTokens, logit_tokens, writes_logits
from bathyscope.features.neighbours import cofiring_neighbours, decoder_neighbours
from bathyscope.features.postings import Block
from bathyscope.features.settings import IndexSettings
from bathyscope.features.statistics import Statistics, firing_sums, statistics
from bathyscope.models.vision import Readable

Columns = dict[str, Any]


def write_tables(
    model: Readable, dictionary: Dictionary, corpus: Corpus, encoded: Encoded, *, work: Draft, settings: IndexSettings
) -> Int[np.ndarray, " M"]:
    """Write `examples.parquet` and `features.parquet`; returns the token ids that stand in lists of logits."""
    figures, sums = write_examples(corpus, encoded, work=work, settings=settings)
    dense = density(sums, corpus.document_rows, cluster=cluster_size(sums))
    columns = {
        "feature": np.arange(dictionary.n_features, dtype=np.int32),
        "density": dense.share,
        "density_low": dense.low,
        "density_high": dense.high,
        **_figure_columns(figures),
        **_logit_columns(model, dictionary, settings),
        **_neighbour_columns(dictionary, encoded, settings),
    }
    file, per_group = work.path / layout.FEATURES_FILE, layout.FEATURES_PER_GROUP
    with layout.TableWriter(file, layout.FEATURES, features_per_group=per_group) as writer:
        writer.write(columns)
    flat = [columns[name].flatten().to_numpy() for name in ("top_tokens", "bottom_tokens")]
    return np.unique(np.concatenate(flat))


def write_examples(
    corpus: Corpus, encoded: Encoded, *, work: Draft, settings: IndexSettings
) -> tuple[list[Statistics], FiringSums]:
    """Write `examples.parquet`; returns the figures of each block of features and all sums for densities."""
    near_values, near_rows = encoded.near.values.numpy(), encoded.near.rows.numpy()
    figures, sums, n_features = list[Statistics](), list[FiringSums](), len(encoded.postings.counts)
    file, per_group = work.path / layout.EXAMPLES_FILE, layout.EXAMPLES_PER_GROUP
    with layout.TableWriter(file, layout.EXAMPLES, features_per_group=per_group) as writer:
        for block in encoded.postings.blocks(multiple=layout.FEATURES_PER_GROUP):
            own = slice(block.first, block.first + block.n_features)
            figures.append(statistics(block))
            sums.append(firing_sums(block, corpus.row_documents, corpus.document_rows))
            near = (near_values[own], near_rows[own])
            found = choose_examples(block, figures[-1], near, corpus=corpus, settings=settings)
            writer.write(_example_columns(block, found, corpus))
            progress.report("index: examples", own.stop, n_features, "features")
    return figures, FiringSums(*(np.concatenate(part) for part in zip(*sums, strict=True)))


def _example_columns(block: Block, found: Examples, corpus: Corpus) -> Columns:
    windows = found.windows
    return {
        "feature": windows.features + block.first,
        "group": np.array(GROUPS)[windows.groups],
        "rank": found.ranks,
        "document": corpus.documents[windows.tokens],
        "token": windows.tokens,
        "start": windows.starts,
        "stop": windows.stops,
        "value": windows.values,
        "values": layout.lists(found.values, found.offsets, pa.float32()),
    }


def _figure_columns(figures: list[Statistics]) -> Columns:
    quantiles = np.concatenate([part.quantiles for part in figures])
    return {
        "n_fires": np.concatenate([part.n_fires for part in figures]),
        "max": np.concatenate([part.maximum for part in figures]),
        "mean": np.concatenate([part.mean for part in figures]),
        "std": np.concatenate([part.std for part in figures]),
        "q50": quantiles[:, 0],
        "q90": quantiles[:, 1],
        "q99": quantiles[:, 2],
        "histogram": layout.rectangle(np.concatenate([part.histogram for part in figures]), pa.int64()),
    }


def _logit_columns(model: Readable, dictionary: Dictionary, settings: IndexSettings) -> Columns:
    """Empty lists where directions have no way to the logits of tokens, see `writes_logits`."""
    if writes_logits(model, dictionary):
        found = logit_tokens(model, dictionary.W_dec, n=settings.n_logits)
    else:
        tokens, values = np.zeros((dictionary.n_features, 0), dtype=np.int64), np.zeros((dictionary.n_features, 0))
        found = LogitTokens(top_tokens=tokens, top_logits=values, bottom_tokens=tokens, bottom_logits=values)
    return {
        "top_tokens": layout.rectangle(found.top_tokens, pa.int32()),
        "top_logits": layout.rectangle(found.top_logits, pa.float32()),
        "bottom_tokens": layout.rectangle(found.bottom_tokens, pa.int32()),
        "bottom_logits": layout.rectangle(found.bottom_logits, pa.float32()),
    }


def _neighbour_columns(dictionary: Dictionary, encoded: Encoded, settings: IndexSettings) -> Columns:
    n, n_features = settings.n_neighbours, dictionary.n_features
    near = decoder_neighbours(dictionary.W_dec, n=n)
    together = cofiring_neighbours(encoded.cofiring_features, encoded.cofiring_counts, n_features=n_features, n=n)
    return {
        "neighbours": layout.rectangle(near.features, pa.int32(), valid=near.features >= 0),
        "neighbour_cosines": layout.rectangle(near.scores, pa.float32(), valid=near.features >= 0),
        "cofiring": layout.rectangle(together.features, pa.int32(), valid=together.features >= 0),
        "cofiring_scores": layout.rectangle(together.scores, pa.float32(), valid=together.features >= 0),
    }
