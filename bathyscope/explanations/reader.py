"""`Explanations`: a finished folder of kind `explanations`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bathyscope.artifacts import check_file, read_manifest
from bathyscope.features.layout import group_ranges, read_feature
from bathyscope.files import read_json

KIND = "explanations"
WORDS_FILE = "words.parquet"
SUMMARY_FILE = "summary.json"
METHODS = ("mutual-information", "logit-lens", "contexts")
"""In the order in which they are stored; the last two are baselines."""
FEATURES_PER_GROUP = 64

WORDS = pa.schema(
    [
        ("feature", pa.int32()),
        ("method", pa.string()),
        ("rank", pa.int16()),
        ("word", pa.string()),
        ("n_word_tokens", pa.int16()),
        ("score", pa.float32()),
        ("p_word_given_feature", pa.float32()),
        ("p_feature_given_word", pa.float32()),
        ("beats_null", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One row of `words.parquet`."""

    feature: int
    method: str
    """`mutual-information`, `logit-lens` or `contexts`."""
    rank: int
    """Place among the feature's words by this method, from 0."""
    word: str
    n_word_tokens: int | None
    """Tokens of the word with a space before it; its vector is their mean. None for `contexts`, which uses none."""
    score: float
    """What the method ranks by: the pointwise score, the logit, or the share of activation in the top examples."""
    p_word_given_feature: float
    """p(w|c); of `contexts` the share of activation."""
    p_feature_given_word: float | None
    """p(c|w); None for `contexts`."""
    beats_null: bool | None
    """Whether the score is above the null of random directions; None where no null is measured."""


class Explanations:
    """A folder of kind `explanations`. Raises ArtifactError when it is of another kind or damaged."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path, kind=KIND)
        self.summary: Mapping[str, Any] = read_json(check_file(self.path, self.manifest, SUMMARY_FILE))
        """Vocabulary and its hash, temperature, null, figures over all features."""

    @property
    def null_score(self) -> float:
        """What a feature's best word must exceed to beat random directions."""
        return float(self.summary["null_score"])

    @cached_property
    def table(self) -> pa.Table:
        """All of `words.parquet`, by feature, method and rank."""
        return self._words.read()

    def words(self, feature: int, method: str | None = "mutual-information") -> list[Word]:
        """The words of a feature, best first; of every method for None. Empty for a feature that never fires."""
        rows = [Word(**row) for row in read_feature(self._words, self._ranges, feature)]
        return [row for row in rows if method is None or row.method == method]

    def label(self, feature: int, *, n: int = 3) -> str:
        """The best `n` words, as a name to print; empty for a feature that never fires."""
        return ", ".join(word.word for word in self.words(feature)[:n])

    @cached_property
    def _words(self) -> pq.ParquetFile:
        return pq.ParquetFile(check_file(self.path, self.manifest, WORDS_FILE), memory_map=True)

    @cached_property
    def _ranges(self) -> tuple[np.ndarray, np.ndarray]:
        return group_ranges(self._words)
