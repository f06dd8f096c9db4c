"""Search by explaining words: the method asked for is searched, and its scores rank."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.explanations.reader import KIND, SCHEMA, SUMMARY_FILE, WORDS, WORDS_FILE, Explanations
from bathyscope.explanations.search import search_words

ROWS = [
    (0, "contexts", "sea", 0.2),
    (1, "contexts", "sea", 0.9),
    (1, "contexts", "boats", 0.1),
    (2, "contexts", "land", 0.5),
    (3, "contexts", "sky", 0.5),
    (4, "contexts", "sand", 0.5),
    (0, "logit-lens", "sea", -1.0),
    (2, "logit-lens", "boat", 3.0),
    (3, "logit-lens", "sky", 3.0),
]


@pytest.fixture(scope="module")
def explanations(tmp_path_factory) -> Explanations:
    """A folder of explanations with just these words."""
    path = tmp_path_factory.mktemp("words") / "explanations"
    with artifacts.draft(path, Recipe(kind=KIND, schema=SCHEMA, config={"made": "by hand"})) as work:
        columns = dict(zip(("feature", "method", "word", "score"), zip(*ROWS, strict=True), strict=True))
        rest = {field.name: [None] * len(ROWS) for field in WORDS if field.name not in columns}
        pq.write_table(pa.table({**columns, **rest}).select(WORDS.names).cast(WORDS), work.path / WORDS_FILE)
        summary = {"methods": ["contexts", "logit-lens"], "default_method": "contexts"}
        (work.path / SUMMARY_FILE).write_text(json.dumps(summary))
    return Explanations(path)


def found(explanations, query, **options):
    return [one.feature for one in search_words(explanations, query, **options)]


def test_the_words_a_feature_fires_on_rank_by_their_share(explanations):
    assert found(explanations, "sea") == [1, 0]
    assert found(explanations, "sea", n=1) == [1]


def test_another_method_is_searched_when_asked(explanations):
    assert found(explanations, "boat", method="logit-lens") == [2]
    assert found(explanations, "sea", method="logit-lens") == [], "a word that scores below 0 says nothing"


def test_an_unknown_method_is_named_with_the_known_ones(explanations):
    with pytest.raises(ConfigError, match=r"no words by 'written'; expected one of: contexts, logit-lens"):
        found(explanations, "sea", method="written")
