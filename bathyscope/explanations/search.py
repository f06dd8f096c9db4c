"""Features by the words that explain them."""

from collections.abc import Iterator

from bathyscope.errors import ConfigError
from bathyscope.explanations.reader import Explanations
from bathyscope.features.search import Found
from bathyscope.features.text_search import FeatureText, TextSearch


def search_words(explanations: Explanations, query: str, *, method: str | None = None, n: int = 20) -> list[Found]:
    """The features one of whose words is in the query, by what the words score (see `text_search`).

    `method` None is the one that names features in these explanations.

    Raises ConfigError for a query without words, or a method that these explanations do not hold.
    """
    with TextSearch(word_texts(explanations, method or explanations.default_method)) as texts:
        return texts.find(query, n=n)


def word_texts(explanations: Explanations, method: str) -> Iterator[FeatureText]:
    """Every word of every feature by one method, with its score as weight; words that score below 0 have none."""
    table = explanations.table.select(["feature", "method", "word", "score"])
    if method not in explanations.methods:
        known = ", ".join(explanations.methods)
        raise ConfigError(f"{explanations.path} holds no words by {method!r}; expected one of: {known}")
    for row in table.to_pylist():
        if row["method"] == method:
            yield FeatureText(row["feature"], row["word"], max(row["score"], 0.0))
