"""Words found in token ids: across tokens, inside one document, with any letters."""

import numpy as np
import pytest

from bathyscope.features.tokens import TokenTable
from bathyscope.features.words import load_counts, save_counts, text_words

PIECES = (b" sail", b"or", b"'s", b" \xed\x95", b"\x9c\xea\xb5\xad", b"12", b"_x", b"<s>", b"or a")
TABLE = TokenTable(PIECES, frozenset({7}))


def words_of(tokens: list[int], documents: list[int] | None = None):
    ids = np.array(tokens, np.int32)
    return text_words(ids, np.array(documents or [0] * len(tokens), np.int32), TABLE)


def test_a_word_keeps_all_its_tokens():
    found = words_of([0, 1, 2, 0])
    assert found.words == ("sailor", "s", "sail")
    assert found.word_of_token.tolist() == [0, 0, 1, 2]
    assert found.counts.tolist() == [1, 1, 1]


def test_letters_cut_inside_a_character_are_one_word():
    found = words_of([3, 4])
    assert found.words == ("한국",)
    assert found.word_of_token.tolist() == [-1, 0]


def test_digits_and_underscores_are_no_letters():
    found = words_of([5, 6])
    assert found.words == ("x",)
    assert found.word_of_token.tolist() == [-1, 0]


@pytest.mark.parametrize("between", [[], [7]])
def test_documents_and_special_tokens_end_a_word(between):
    tokens = [0, *between, 1]
    documents = [0] * len(tokens) if between else [0, 1]
    assert words_of(tokens, documents).words == ("sail", "or")


def test_of_two_words_in_one_token_the_last_counts_for_the_token_and_both_for_the_text():
    found = words_of([8, 8])
    assert found.words == ("or", "aor", "a")
    assert found.counts.tolist() == [1, 1, 1]
    assert found.word_of_token.tolist() == [1, 2]


def test_counts_survive_their_file_with_the_most_frequent_first(tmp_path):
    save_counts(words_of([0, 7, 8, 7, 0, 7, 1]), tmp_path / "words.parquet")
    assert list(load_counts(tmp_path / "words.parquet").items()) == [("or", 2), ("sail", 2), ("a", 1)]
