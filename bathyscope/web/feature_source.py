"""Features of a run as they lie on disk, opened for the page: tables, windows, token texts, words.

Knows the files of an index and of its explanations; knows nothing of how the page packs them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bathyscope.errors import ArtifactError
from bathyscope.explanations.methods import METHODS
from bathyscope.explanations.reader import SUMMARY_FILE, WORDS_FILE
from bathyscope.features.layout import (
    EXAMPLES_FILE,
    FEATURES_FILE,
    STRINGS_FILE,
    TOKENS_FILE,
    VOCABULARY_FILE,
)
from bathyscope.features.tokens import TokenTable
from bathyscope.web.numbers import short
from bathyscope.web.run_folder import Artifact
from bathyscope.web.token_stream import TokenStream, cover

N_PEAKS = 5

Piece = str | list[int]
"""A token's text, or its bytes when they are no whole character by themselves."""

WordRow = list[Any]
"""[word, n tokens, score, p(w|c), p(c|w), 1 or 0 for beating its null or None]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSource:
    """Everything that is known about the features of a run."""

    features: pa.Table
    """`features.parquet`, row f = feature f."""
    examples: pq.ParquetFile | None
    """`examples.parquet`, sorted by feature."""
    example_features: NDArray[np.int64]
    """Feature of every example row."""
    places: NDArray[np.int64]
    """Where the window of every example row begins in the stream."""
    peak_tokens: Mapping[int, list[int]]
    """Feature → its commonest peak tokens in the top examples."""
    stream: TokenStream
    """Text of all windows."""
    pieces: Mapping[int, Piece]
    """Token id → its text or bytes."""
    ranks: Mapping[int, int]
    """Token id → its number on the page, commonest first."""
    words: Mapping[str, Mapping[int, list[WordRow]]]
    """Method → feature → its words."""
    default_method: str
    """The method that names features; empty without words."""

    @property
    def n_features(self) -> int:
        """Number of features, silent ones included."""
        return self.features.num_rows

    def examples_between(self, start: int, stop: int) -> dict[int, list[dict[str, Any]]]:
        """Feature → its example rows and their `place`, for features in [start, stop); reads only their row groups."""
        if self.examples is None:
            return {}
        meta = self.examples.metadata
        first, last = np.searchsorted(self.example_features, [start, stop])
        edges = np.cumsum([0, *(meta.row_group(i).num_rows for i in range(meta.num_row_groups))])
        groups = [i for i in range(len(edges) - 1) if edges[i] < last and edges[i + 1] > first]
        found: dict[int, list[dict[str, Any]]] = {}
        if groups:
            table = self.examples.read_row_groups(groups).slice(int(first - edges[groups[0]]), int(last - first))
            for row, place in zip(table.to_pylist(), self.places[first:last].tolist(), strict=True):
                found.setdefault(row["feature"], []).append({**row, "place": place})
        return found


def open_features(index: Artifact, explanations: Artifact | None) -> FeatureSource:
    """The features of an index with their words. Raises ArtifactError when a file is damaged or rows are missing."""
    features = pq.read_table(index.file(FEATURES_FILE))
    numbers = features["feature"].to_numpy()
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise ArtifactError(f"{index.path / FEATURES_FILE} lacks features or is not ordered; make {index.path} again")
    examples = pq.ParquetFile(index.file(EXAMPLES_FILE)) if index.holds(EXAMPLES_FILE) else None
    tokens = np.load(index.file(TOKENS_FILE), mmap_mode="r", allow_pickle=False) if examples else np.zeros(0, np.int32)
    table = examples.read(columns=["feature", "group", "token", "start", "stop"]) if examples else _NO_EXAMPLES
    _require_sound(index, table, n_tokens=len(tokens))
    stream = cover(tokens, table["start"].to_numpy(), table["stop"].to_numpy())
    ranks = _ranks(stream, features)
    return FeatureSource(
        features=features,
        examples=examples,
        example_features=table["feature"].to_numpy().astype(np.int64),
        places=stream.place(table["start"].to_numpy()),
        peak_tokens=_peak_tokens(table, tokens),
        stream=stream,
        pieces=_pieces(index, ranks),
        ranks=ranks,
        words=(words := _words(explanations)),
        default_method=_default(explanations, words),
    )


_NO_EXAMPLES = pa.table(
    {
        **{name: pa.array([], pa.int64()) for name in ("feature", "token", "start", "stop")},
        "group": pa.array([], pa.string()),
    }
)


def _require_sound(index: Artifact, examples: pa.Table, *, n_tokens: int) -> None:
    """Raise ArtifactError when examples are out of order or point outside the text."""
    features, starts, stops = (examples[name].to_numpy() for name in ("feature", "start", "stop"))
    if len(features) and (np.any(np.diff(features) < 0) or starts.min() < 0 or stops.max() > n_tokens):
        raise ArtifactError(
            f"{index.path / EXAMPLES_FILE} is not sorted by feature, or points outside {TOKENS_FILE}; "
            f"make {index.path} again"
        )


def _peak_tokens(examples: pa.Table, tokens: NDArray[np.integer]) -> dict[int, list[int]]:
    top = np.flatnonzero(np.array(examples["group"].to_pylist()) == "top")
    features, peaks = examples["feature"].to_numpy()[top], tokens[examples["token"].to_numpy()[top]]
    counts: dict[int, Counter[int]] = {}
    for feature, token in zip(features.tolist(), peaks.tolist(), strict=True):
        counts.setdefault(feature, Counter())[token] += 1
    return {f: sorted(count, key=lambda t, count=count: (-count[t], t))[:N_PEAKS] for f, count in counts.items()}


def _ranks(stream: TokenStream, features: pa.Table) -> dict[int, int]:
    """Token id → rank by use in the windows, then by id; tokens that only stand in logit lists come last."""
    ids, counts = np.unique(stream.ids, return_counts=True)
    used = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    for column in ("top_tokens", "bottom_tokens"):
        for token in set(features[column].combine_chunks().flatten().to_pylist()):
            used.setdefault(token, 0)
    return {token: rank for rank, token in enumerate(sorted(used, key=lambda token: (-used[token], token)))}


def _pieces(index: Artifact, ids: Iterable[int]) -> dict[int, Piece]:
    """Text or bytes of the given tokens: from the vocabulary of the index, or else from its list of strings."""
    if index.holds(VOCABULARY_FILE):
        table = TokenTable.load(index.file(VOCABULARY_FILE))
        return {token: _piece(table.bytes_of(token)) for token in ids}
    content = index.json(STRINGS_FILE)
    return {int(token): str(text) for token, text in (content.items() if isinstance(content, dict) else content)}


def _piece(data: bytes) -> Piece:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


def _default(explanations: Artifact | None, words: Mapping[str, Any]) -> str:
    """The method that the explanations say names features; the first there is where they are older."""
    named = None if explanations is None else explanations.json(SUMMARY_FILE).get("default_method")
    return str(named) if named in words else next(iter(words), "")


def _words(explanations: Artifact | None) -> dict[str, dict[int, list[WordRow]]]:
    """Method → feature → words, best first; methods in the order in which `explain` names them."""
    if explanations is None:
        return {}
    table = pq.read_table(explanations.file(WORDS_FILE)).sort_by([("feature", "ascending"), ("rank", "ascending")])
    columns = [table[name].to_pylist() for name in ("feature", "method", "word", "n_word_tokens")]
    figures = [short(table[name].to_pylist()) for name in ("score", "p_word_given_feature", "p_feature_given_word")]
    beats = [None if flag is None else int(flag) for flag in table["beats_null"].to_pylist()]
    found: dict[str, dict[int, list[WordRow]]] = {}
    for feature, method, *row in zip(*columns, *figures, beats, strict=True):
        found.setdefault(method, {}).setdefault(feature, []).append(row)
    order = {method: rank for rank, method in enumerate(METHODS)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
