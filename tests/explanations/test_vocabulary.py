"""Vocabularies by hand, and word vectors against the unembedding's rows."""

import hashlib

import pytest
import torch
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.explanations.vocabulary import VocabularySettings, build_vocabulary, stop_words, word_vectors
from bathyscope.features.tokens import TokenTable
from bathyscope.models.unembed import unembedding

COUNTS = {
    "The": 40, "the": 60, "ship": 9, "ships": 4, "SHIP": 2, "studied": 3, "study": 5, "sailing": 6, "sail": 1,
    "is": 50, "naïve": 7, "class": 8, "rare": 1, "Paris": 5, "paris": 1,
}  # fmt: skip
NONE = TokenTable((b"x",), frozenset())


def built(n_words: int = 100, table: TokenTable = NONE, **changes):
    settings = VocabularySettings(**{"min_count": 3, "fill_from_tokenizer": False, **changes})
    return build_vocabulary(COUNTS, table, settings, n_words=n_words)


def test_words_are_ranked_by_count_with_case_folded_and_written_as_they_are_most_often():
    found = built()
    assert found.words == ("the", "ship", "class", "naïve", "Paris", "sailing", "study", "ships", "studied")
    assert found.counts == (100, 11, 8, 7, 6, 6, 5, 4, 3)


def test_the_most_frequent_are_taken_and_the_hash_is_of_the_list():
    found = built(n_words=3)
    assert found.words == ("the", "ship", "class")
    assert found.digest == hashlib.sha256(b"the\nship\nclass").hexdigest()


def test_stop_words_and_other_alphabets_can_be_left_out():
    assert "the" in stop_words()
    assert "the" not in built(drop_stop_words=True).words
    assert "naïve" not in built(ascii_only=True).words


def test_inflections_are_merged_before_truncation_and_only_into_words_that_occur():
    found = built(merge_inflections=True)
    assert dict(zip(found.words, found.counts, strict=True)) == {
        "the": 100, "ship": 15, "class": 8, "study": 8, "naïve": 7, "sail": 7, "Paris": 6,
    }  # fmt: skip
    assert built(n_words=2, merge_inflections=True).words == ("the", "ship")


def test_missing_words_come_from_the_tokenizer_in_its_order():
    table = TokenTable((b" the", b" harbour", b"tide", b" Tide", b" of", b" reef2", b" Reef", b" mast"), frozenset({7}))
    found = built(n_words=11, table=table, fill_from_tokenizer=True)
    assert found.words[9:] == ("harbour", "Tide")
    assert found.counts[9:] == (0, 0)
    assert len(built(n_words=50, table=table, fill_from_tokenizer=True).words) == 12


def test_a_text_without_words_is_refused():
    with pytest.raises(ConfigError, match="at least 2"):
        built(min_count=90)


def test_a_words_vector_is_the_mean_of_its_tokens_rows():
    model = tiny_model()
    vectors, n_tokens = word_vectors(model, ["ship", "wë"])
    rows = unembedding(model)
    assert n_tokens.tolist() == [5, 4]
    torch.testing.assert_close(vectors[0], rows[list(b" ship")].mean(0))
    torch.testing.assert_close(vectors[1], rows[list(" wë".encode())].mean(0))
