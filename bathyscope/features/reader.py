"""`FeatureIndex`: a finished folder of kind `features`, read a few kilobytes at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from bathyscope.artifacts import check_file, read_manifest
from bathyscope.errors import ConfigError
from bathyscope.features.layout import (
    DOCUMENTS_FILE,
    EXAMPLES_FILE,
    FEATURES_FILE,
    SOURCES_FILE,
    SUMMARY_FILE,
    TOKENS_FILE,
    VOCABULARY_FILE,
    WORDS_FILE,
    group_ranges,
    read_feature,
)
from bathyscope.features.tokens import TokenTable
from bathyscope.features.words import load_counts
from bathyscope.files import read_json

KIND = "features"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """One row of `features.parquet`. Every figure of a feature that never fires is 0."""

    feature: int
    density: float
    """Share of kept tokens on which it fires."""
    density_low: float
    """Lower end of the 95 % interval, documents as clusters."""
    density_high: float
    n_fires: int
    max: float
    mean: float
    """Mean of the positive values; likewise the next four."""
    std: float
    q50: float
    q90: float
    q99: float
    histogram: Sequence[int]
    """Counts in 20 equal bins of (0, max]."""
    top_tokens: Sequence[int]
    """Tokens that the direction raises most; empty when it does not write into the residual stream."""
    top_logits: Sequence[float]
    bottom_tokens: Sequence[int]
    bottom_logits: Sequence[float]
    neighbours: Sequence[int]
    """Nearest features by decoder cosine."""
    neighbour_cosines: Sequence[float]
    cofiring: Sequence[int]
    """Nearest features by phi, the correlation of firing over tokens."""
    cofiring_scores: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row of `examples.parquet`: a window of text about one token."""

    feature: int
    group: str
    """`top`, `tenth-10` … `tenth-1`, `near-miss` or `silent`."""
    rank: int
    """Place within its group, from 0."""
    document: int
    token: int
    """Offset in `tokens` of the token that the window is about."""
    start: int
    stop: int
    """The window is tokens[start:stop]."""
    value: float
    """Activation at `token`; of a near miss its pre-activation."""
    values: Sequence[float]
    """Activation at each token of the window; 0 where a token was masked."""


class FeatureIndex:
    """A folder of kind `features`; nothing but its summary is read until it is asked for.

    Raises ArtifactError when the folder is of another kind, damaged or unfinished.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path, kind=KIND)
        self.summary: Mapping[str, Any] = read_json(self._file(SUMMARY_FILE))
        """Counts, corpus, model, settings and the names of the scores."""

    @property
    def n_features(self) -> int:
        """Number of features, silent ones included."""
        return int(self.summary["n_features"])

    @cached_property
    def features(self) -> pa.Table:
        """All of `features.parquet`, row f = feature f."""
        return self._features.read()

    def feature(self, feature: int) -> FeatureRow:
        """The figures of one feature; reads one row group. Raises ConfigError when there is no such feature."""
        self._require(feature)
        return FeatureRow(**read_feature(self._features, self._feature_ranges, feature)[0])

    def examples(self, feature: int, group: str | None = None) -> list[Example]:
        """The windows of one feature, by group and rank; reads one row group."""
        self._require(feature)
        found = [Example(**row) for row in read_feature(self._examples, self._example_ranges, feature)]
        return [example for example in found if group is None or example.group == group]

    def all_examples(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All of `examples.parquet`, or some of its columns."""
        return self._examples.read(columns=list(columns) if columns is not None else None)

    @cached_property
    def tokens(self) -> Int[np.ndarray, " T"]:
        """Token ids of the indexed text (memory-mapped)."""
        return np.load(self._file(TOKENS_FILE), mmap_mode="r")

    @cached_property
    def documents(self) -> Int[np.ndarray, " T"]:
        """Document number of each token, as in the activations (memory-mapped)."""
        return np.load(self._file(DOCUMENTS_FILE), mmap_mode="r")

    @cached_property
    def sources(self) -> Mapping[int, str]:
        """Document number → where it comes from."""
        return {int(number): label for number, label in read_json(self._file(SOURCES_FILE)).items()}

    @cached_property
    def vocabulary(self) -> TokenTable:
        """Bytes of every token id: text is rendered without the tokenizer."""
        return TokenTable.load(self._file(VOCABULARY_FILE))

    @cached_property
    def word_counts(self) -> Mapping[str, int]:
        """Words and how often they occur, over all text of the store (not only the indexed documents), falling."""
        return load_counts(self._file(WORDS_FILE))

    def render(self, tokens: Sequence[int]) -> list[str]:
        """One string per token of a running text, see `tokens.render`."""
        return self.vocabulary.render(tokens)

    def token_strings(self, tokens: Sequence[int]) -> list[str]:
        """One string per token, each on its own (lists of logit tokens)."""
        return self.vocabulary.strings(tokens)

    @cached_property
    def _features(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._file(FEATURES_FILE), memory_map=True)

    @cached_property
    def _examples(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._file(EXAMPLES_FILE), memory_map=True)

    @cached_property
    def _feature_ranges(self) -> tuple[np.ndarray, np.ndarray]:
        return group_ranges(self._features)

    @cached_property
    def _example_ranges(self) -> tuple[np.ndarray, np.ndarray]:
        return group_ranges(self._examples)

    def _file(self, name: str) -> Path:
        return check_file(self.path, self.manifest, name)

    def _require(self, feature: int) -> None:
        if not 0 <= feature < self.n_features:
            raise ConfigError(
                f"feature {feature} does not exist: {self.path} holds features 0 to {self.n_features - 1}"
            )
