"""Tokens as the bytes they stand for, and as strings to look at.

Knows the three spellings of vocabularies (byte-level BPE, SentencePiece, plain words) and visual words. Text is never
decoded and encoded again: strings come from ids through bytes, so a character cut in two by the tokenizer survives.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bathyscope.errors import ArtifactError
from bathyscope.models.model import Model
from bathyscope.models.vision import ImageModel, Readable

_HEX = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_ESCAPED = re.compile("[\udc80-\udcff]+")


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The bytes of every token id, and which ids are special."""

    pieces: tuple[bytes, ...]
    special: frozenset[int]

    @classmethod
    def of(cls, tokenizer: Any) -> "TokenTable":
        """The table of a Hugging Face tokenizer."""
        spelled = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        literal = {int(i): text for text, i in tokenizer.get_added_vocab().items()}
        spell = _speller([piece for i, piece in enumerate(spelled) if i not in literal])
        pieces = tuple(literal[i].encode() if i in literal else spell(piece or "") for i, piece in enumerate(spelled))
        return cls(pieces, frozenset(int(i) for i in tokenizer.all_special_ids))

    @classmethod
    def of_model(cls, model: Readable) -> "TokenTable":
        """What a model's tokens read as: its tokenizer's pieces, or its visual words."""
        match model:
            case Model():
                return cls.of(model.tokenizer)
            case ImageModel():
                return cls(model.words.pieces(), frozenset({model.words.class_token}))

    @classmethod
    def load(cls, file: Path) -> "TokenTable":
        """The table that `save` wrote."""
        try:
            table = pq.ParquetFile(file).read()
            pieces, special = table["bytes"].to_pylist(), table["special"].to_pylist()
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise ArtifactError(f"{file} cannot be read as a token table: {error}") from error
        return cls(tuple(pieces), frozenset(i for i, flag in enumerate(special) if flag))

    def save(self, file: Path) -> None:
        """Write one row per id: bytes, special."""
        flags = [i in self.special for i in range(len(self.pieces))]
        pq.write_table(
            pa.table({"bytes": pa.array(self.pieces, pa.binary()), "special": flags}), file, compression="zstd"
        )

    def bytes_of(self, token: int) -> bytes:
        """The bytes of one id; an id beyond the tokenizer (padding rows of an embedding) is named instead."""
        return self.pieces[token] if 0 <= token < len(self.pieces) else b"<unused %d>" % token

    def strings(self, tokens: Sequence[int]) -> list[str]:
        """Each token on its own; bytes that are no whole character are shown as hex, such as `⟨e2 80⟩`."""
        return [render([self.bytes_of(int(token))])[0] for token in tokens]

    def render(self, tokens: Sequence[int]) -> list[str]:
        """Each token as it reads in this sequence, see `render`."""
        return render([self.bytes_of(int(token)) for token in tokens])


def token_strings(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Each id as the tokenizer's own bytes, on its own: `token_strings(t, [5])` → `[" the"]`.

    Bytes that are no whole character are shown as hex (`⟨e2 80⟩`), never as U+FFFD.
    """
    return TokenTable.of(tokenizer).strings(ids)


def render(pieces: Sequence[bytes]) -> list[str]:
    """One string per piece of a running text.

    A character spread over several pieces is shown whole by the piece that completes it; a piece that completes
    nothing is shown as hex, and so are bytes that are not UTF-8. Joining the strings of pieces that are whole
    characters gives back the text.
    """
    shown = [_ESCAPED.sub(_hex_escaped, characters) for characters in owned_characters(pieces)]
    return [text or (_hex(piece) if piece else "") for text, piece in zip(shown, pieces, strict=True)]


def owned_characters(pieces: Sequence[bytes]) -> list[str]:
    """The characters that each piece completes; a byte that is not UTF-8 stays as a surrogate escape."""
    whole = b"".join(pieces)
    if whole.isascii():
        return [piece.decode("ascii") for piece in pieces]
    ends = list(accumulate(len(piece) for piece in pieces))
    characters: list[list[str]] = [[] for _ in pieces]
    at = 0
    for character in whole.decode("utf-8", "surrogateescape"):
        at += len(character.encode("utf-8", "surrogateescape"))
        characters[bisect_right(ends, at - 1)].append(character)
    return ["".join(own) for own in characters]


def _hex_escaped(escaped: re.Match[str]) -> str:
    return _hex(escaped[0].encode("utf-8", "surrogateescape"))


def _hex(data: bytes) -> str:
    return f"⟨{data.hex(' ')}⟩"


def _speller(pieces: Sequence[str | None]) -> Any:
    """The function from a vocabulary entry to its bytes, told by the space mark that the vocabulary uses."""
    byte_level = sum(1 for piece in pieces if piece and piece.startswith("Ġ"))
    sentence_piece = sum(1 for piece in pieces if piece and piece.startswith("▁"))
    if not byte_level and not sentence_piece:
        return _plain
    return _byte_level if byte_level >= sentence_piece else _sentence_piece


def _byte_level(piece: str) -> bytes:
    return b"".join(bytes([_BYTES[c]]) if c in _BYTES else c.encode() for c in piece)


def _sentence_piece(piece: str) -> bytes:
    found = _HEX.fullmatch(piece)
    return bytes([int(found[1], 16)]) if found else piece.replace("▁", " ").encode()


def _plain(piece: str) -> bytes:
    """Whole words, or WordPiece where `##` continues a word."""
    return piece.removeprefix("##").encode() if piece.startswith("##") else b" " + piece.encode()


def _byte_characters() -> dict[str, int]:
    """The 256 printable stand-ins of byte-level BPE (GPT-2), character → byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTES = _byte_characters()
