"""Full-text search: what matches, in which order, and what is refused."""

import pytest

from bathyscope.errors import ConfigError
from bathyscope.features.text_search import FeatureText, TextSearch

TEXTS = [
    FeatureText(3, "ships and harbours on the coast"),
    FeatureText(5, "the harbour of New York"),
    FeatureText(8, "new ships"),
    FeatureText(9, "café tables"),
    *(FeatureText(number, "something else") for number in range(10, 14)),
]


def found(query: str, texts=TEXTS, n: int = 20) -> list[int]:
    with TextSearch(texts) as search:
        return [one.feature for one in search.find(query, n=n)]


def test_a_text_that_holds_more_of_the_query_comes_first():
    assert found("harbour coast") == [3, 5] != found("harbour")


def test_endings_case_and_accents_are_folded():
    assert found("HARBOURS") == found("harbour") == [5, 3], "the shorter text first"
    assert found("cafe table") == [9]


def test_phrases_and_beginnings():
    assert found("new york") == [5, 8]
    assert found('"new york"') == [5]
    assert found("harb*") == [5, 3]


@pytest.mark.parametrize(
    "query", ["NOT harbour", "harbour AND NEAR(", 'harbour "', "harbour^2 -ships", "text: harbour"]
)
def test_nothing_in_a_query_is_read_as_an_operator(query):
    assert 5 in found(query)


def test_a_feature_counts_the_weights_of_all_its_texts():
    words = [
        FeatureText(0, "sea", 1.0),
        FeatureText(1, "sea", 2.0),
        FeatureText(0, "ocean", 1.5),
        FeatureText(2, "land"),
    ]
    words += [FeatureText(3, "sky"), FeatureText(4, "sand"), FeatureText(5, "sea", 0.0)]
    assert found("sea", words) == [1, 0]
    assert found("sea ocean", words) == [0, 1]


def test_ties_go_to_the_lower_number_and_n_limits():
    same = [FeatureText(f, "rope") for f in (7, 2, 4)] + [FeatureText(f, "sail") for f in range(10, 20)]
    assert found("rope", same, n=2) == [2, 4]


def test_what_does_not_occur_is_not_found():
    assert found("mountain") == []


@pytest.mark.parametrize("query", ["", "   ", "?!", '""', "*"])
def test_a_query_without_words_is_refused(query):
    with pytest.raises(ConfigError, match="no word"):
        found(query)


def test_no_text_at_all_is_refused():
    with pytest.raises(ConfigError, match="explain the features first"):
        TextSearch([])
