"""Full-text search over what is said of features, words or whole sentences, in an SQLite table in memory.

relevance(feature) = Σ over its texts of weight × BM25(text, query)      (SQLite FTS5: k1 = 1.2, b = 0.75)

Any word of the query may match; a text with more of them, and with rarer ones, scores higher. Case, accents and English
endings are folded (Porter): `harbours` finds `harbour`. `"new york"` is a phrase, `harb*` a beginning.
Knows nothing of where the texts come from.
"""

import re
import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple

from bathyscope.errors import ConfigError
from bathyscope.features.search import Found

_TERM = re.compile(r'"([^"]+)"|(\w+\*?)')


class FeatureText(NamedTuple):
    """Something said of a feature."""

    feature: int
    text: str
    weight: float = 1.0
    """What a match counts; a word that says little of its feature has little weight."""


class TextSearch:
    """A searchable set of texts; close it, or use it in a `with` block."""

    def __init__(self, texts: Iterable[FeatureText]) -> None:
        """Raises ConfigError when there is no text, or when this Python's SQLite cannot search text."""
        self._table = sqlite3.connect(":memory:")
        try:
            self._table.execute(
                "CREATE VIRTUAL TABLE texts USING fts5"
                "(text, feature UNINDEXED, weight UNINDEXED, tokenize = 'porter unicode61 remove_diacritics 2')"
            )
        except sqlite3.OperationalError as error:
            self.close()
            raise ConfigError(f"searching text needs a Python whose SQLite has FTS5: {error}") from error
        rows = ((text.text, int(text.feature), float(text.weight)) for text in texts)
        if self._table.executemany("INSERT INTO texts VALUES (?, ?, ?)", rows).rowcount < 1:
            self.close()
            raise ConfigError("there is no text to search: explain the features first")

    def __enter__(self) -> "TextSearch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back."""
        self._table.close()

    def find(self, query: str, *, n: int = 20) -> list[Found]:
        """The `n` features of highest relevance, ties by the lower number; fewer when fewer match.

        Raises ConfigError when the query holds no word.
        """
        rows = self._table.execute(
            "SELECT feature, SUM(weight * -rank) AS relevance FROM texts WHERE texts MATCH ?"
            " GROUP BY feature HAVING relevance > 0 ORDER BY relevance DESC, feature LIMIT ?",
            (_expression(query), n),
        )
        return [Found(feature=feature, score=relevance) for feature, relevance in rows]


def _expression(query: str) -> str:
    """The query in FTS5's own language, every word quoted so that none of it is read as an operator."""
    terms = [_quoted(phrase or word) for phrase, word in _TERM.findall(query)]
    if not any(re.search(r"\w", term) for term in terms):
        raise ConfigError(f"the query {query!r} holds no word; give at least one")
    return " OR ".join(terms)


def _quoted(term: str) -> str:
    return f'"{term[:-1]}"*' if term.endswith("*") else f'"{term}"'
