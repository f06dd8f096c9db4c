"""Tokens as bytes and strings: three spellings, characters cut in two, special tokens."""

import pytest
from features.planted import tokenizer_of
from tiny import tiny_tokenizer

from bathyscope.errors import ArtifactError
from bathyscope.features.tokens import TokenTable, owned_characters, render, token_strings

BYTE_LEVEL = {"a": 0, "Ġb": 1, "âĢ": 2, "ľ": 3, "Ċ": 4}
SENTENCE_PIECE = {"a": 0, "▁b": 1, "<0xE2>": 2, "<0x80>": 3, "<0x9C>": 4, "▁▁": 5}


def test_byte_level_pieces_are_read_through_the_byte_alphabet():
    table = TokenTable.of(tokenizer_of(BYTE_LEVEL))
    assert table.pieces[:5] == (b"a", b" b", b"\xe2\x80", b"\x9c", b"\n")


def test_sentence_piece_spaces_and_byte_tokens_are_read():
    table = TokenTable.of(tokenizer_of(SENTENCE_PIECE))
    assert table.pieces[:6] == (b"a", b" b", b"\xe2", b"\x80", b"\x9c", b"  ")


def test_word_pieces_continue_a_word_without_a_space():
    assert TokenTable.of(tokenizer_of({"sail": 0, "##or": 1})).pieces[:2] == (b" sail", b"or")


def test_special_tokens_are_literal_and_known():
    table = TokenTable.of(tiny_tokenizer())
    assert table.pieces[257] == b"<|bos|>"
    assert table.special == {256, 257, 258, 259}
    assert table.pieces[ord("A")] == b"A"


def test_a_character_in_two_tokens_is_shown_by_the_one_that_completes_it():
    assert render([b"\xe2\x80", b"\x9c", b"Hi"]) == ["⟨e2 80⟩", "“", "Hi"]


def test_a_lone_part_of_a_character_is_hex_and_never_a_replacement_character():
    strings = TokenTable.of(tokenizer_of(BYTE_LEVEL)).strings([2, 3, 0])
    assert strings == ["⟨e2 80⟩", "⟨9c⟩", "a"]
    assert "\ufffd" not in "".join(strings)


def test_bytes_that_are_no_text_at_all_keep_their_place():
    assert render([b"ok", b"\xff", b"\xed\x95", b"x"]) == ["ok", "⟨ff⟩", "⟨ed 95⟩", "x"]


def test_joined_characters_are_the_text():
    text = "naïve 한국어 – 𝒳!".encode()
    pieces = [text[i : i + 2] for i in range(0, len(text), 2)]
    assert "".join(owned_characters(pieces)).encode() == text


def test_token_strings_of_the_tiny_tokenizer_are_its_bytes():
    assert token_strings(tiny_tokenizer(), [ord("z"), 0xE2, 257]) == ["z", "⟨e2⟩", "<|bos|>"]


def test_an_id_beyond_the_tokenizer_is_named():
    assert TokenTable.of(tiny_tokenizer()).strings([400]) == ["<unused 400>"]


def test_a_table_survives_its_file(tmp_path):
    table = TokenTable.of(tiny_tokenizer())
    table.save(tmp_path / "v.parquet")
    assert TokenTable.load(tmp_path / "v.parquet") == table


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "v.parquet").write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="token table"):
        TokenTable.load(tmp_path / "v.parquet")
