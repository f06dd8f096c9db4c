"""`Explanations`: a finished folder of kind `explanations`."""

from collections.abc import Mapping
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
from bathyscope.features.layout import group_ranges, read_feature
from bathyscope.files import read_json

KIND = "explanations"
SCHEMA = 2
WORDS_FILE = "words.parquet"
RANDOM_FILE = "random_words.parquet"
"""Words of random directions by mutual information, with the number of the direction as the feature."""
EVIDENCE_FILE = "evidence.parquet"
DOCUMENTS_FILE = "documents.json"
"""Documents that words were read off, and the seed that halves them; only where activations were read."""
SUMMARY_FILE = "summary.json"
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
        ("p_value", pa.float32()),
        ("beats_null", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One row of `words.parquet`."""

    feature: int
    method: str
    """One of `methods.METHODS`."""
    rank: int
    """Place among the feature's words by this method, from 0."""
    word: str
    n_word_tokens: int | None
    """Tokens of the word with a space before it; its vector is their mean. None for methods that use no vectors."""
    score: float
    """What the method ranks by, see docs/explanations.md."""
    p_word_given_feature: float | None
    """p(w|c): of the text, the share of firings with the word near them (`contexts`: of the activation on it)."""
    p_feature_given_word: float | None
    """p(c|w): of the text, the share of tokens near the word on which the feature fires."""
    p_value: float | None
    """Share of circular shifts whose best unit scores as high; None where no shifts are made."""
    beats_null: bool | None
    """Whether the score is above the method's null; None where no null is measured."""


class Explanations:
    """A folder of kind `explanations`. Raises ArtifactError when it is of another kind or damaged."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path, kind=KIND, schema=SCHEMA)
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

    @property
    def methods(self) -> list[str]:
        """The methods that this folder holds, in the order of the table."""
        return list(self.summary["methods"])

    @property
    def default_method(self) -> str:
        """The method that names features here."""
        return str(self.summary["default_method"])

    def words(self, feature: int, method: str | None = "default") -> list[Word]:
        """The words of a feature, best first, by one method; by every method for None. Empty where it has none.

        Raises ConfigError for a method that the folder does not hold.
        """
        wanted = self.default_method if method == "default" else method
        if wanted is not None and wanted not in self.methods:
            raise ConfigError(f"{self.path} has no words by {wanted!r}; expected one of: {', '.join(self.methods)}")
        rows = [Word(**row) for row in read_feature(self._words, self._ranges, feature)]
        return [row for row in rows if wanted is None or row.method == wanted]

    def label(self, feature: int, *, n: int = 3) -> str:
        """The best `n` words, as a name to print; empty for a feature that never fires."""
        return ", ".join(word.word for word in self.words(feature)[:n])

    @property
    def explaining_documents(self) -> Int[np.ndarray, " M"]:
        """Numbers of the documents that words were read off; none where no activations were read."""
        if "text" not in self.summary:
            return np.zeros(0, dtype=np.int64)
        found = read_json(check_file(self.path, self.manifest, DOCUMENTS_FILE))
        return np.array(found["explaining"], dtype=np.int64)

    @property
    def seed(self) -> int:
        """The seed that cuts documents into explaining and scoring ones."""
        return int(self.manifest.seed or 0)

    @cached_property
    def evidence(self) -> pa.Table:
        """One row per feature: status, firings, top token and top windows in the explaining documents.

        Raises ConfigError where no activations were read.
        """
        if "text" not in self.summary:
            raise ConfigError(f"{self.path} was made without activations: nothing was read off text")
        return pq.read_table(check_file(self.path, self.manifest, EVIDENCE_FILE))

    def status(self, feature: int) -> str:
        """`explained`, `few firings` or `silent`: how much text stands behind a feature's words."""
        return str(self.evidence["status"][feature])

    @cached_property
    def random_words(self) -> pa.Table:
        """Words of random directions, in the columns of `table`."""
        return pq.read_table(check_file(self.path, self.manifest, RANDOM_FILE))

    @cached_property
    def _words(self) -> pq.ParquetFile:
        return pq.ParquetFile(check_file(self.path, self.manifest, WORDS_FILE), memory_map=True)

    @cached_property
    def _ranges(self) -> tuple[np.ndarray, np.ndarray]:
        return group_ranges(self._words)
