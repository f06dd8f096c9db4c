"""Documents become rows of tokens: pieces of documents side by side, each read on its own.

A document's tokens are cut into pieces that fill the rows in stream order; by default every piece begins with BOS,
and pieces in one row do not see each other. Ids go out as they came from the tokenizer, text is never encoded twice.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from bathyscope.activations.document import Document
from bathyscope.activations.text import OpenText, interleave, readable
from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.models.packing import PADDING, require_packing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How documents become rows of tokens."""

    context: int = 128
    """Tokens in a row: the most that a token can look back on."""
    batch_tokens: int = 2048
    """Tokens of one forward pass, padding included."""
    bos: Literal["always", "auto", "never"] = "always"
    """Begin every piece of a document with BOS, do as the tokenizer does by itself, or never add one."""
    chat: bool = False
    """Wrap documents in the model's chat template: conversations turn by turn, plain text as one user message."""
    cross_documents: bool = False
    """Let tokens look back into the documents before theirs in the same row."""
    one_piece_per_row: bool = False
    """Give each piece of a document a row of its own (slower; for models that cannot keep packed documents apart)."""
    min_piece: int = 16
    """Begin a longer document in a row only if this many places are left; else they become padding."""
    max_document_chars: int = 20_000
    """Cut longer documents, at blank lines where there are some, into documents of their own; 0 never cuts."""
    shuffle: bool = True
    """Draw the order of documents from the seed, so that the first tokens are a sample of the whole text."""

    def __post_init__(self) -> None:
        if self.context < 2 or self.batch_tokens < 1:
            raise ConfigError("context must be at least 2 tokens and batch_tokens at least 1")
        if not 1 <= self.min_piece <= self.context:
            raise ConfigError(f"min_piece is {self.min_piece}, expected 1 … context ({self.context})")
        if self.max_document_chars < 0:
            raise ConfigError("max_document_chars must be 0 (never cut) or more")
        if self.cross_documents and self.one_piece_per_row:
            raise ConfigError("cross_documents and one_piece_per_row exclude each other; choose one")

    @property
    def rows_per_batch(self) -> int:
        """Rows of one forward pass."""
        return max(1, self.batch_tokens // self.context)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Rows of one forward pass, and its N real tokens in stream order."""

    tokens_BS: Int[Tensor, "B S"]
    """Token ids; padding repeats the row's last token."""
    segments_BS: Int[Tensor, "B S"]
    """Number of the piece within its row, -1 at padding."""
    tokens_N: Int[np.ndarray, " N"]
    """Ids of the real tokens."""
    documents_N: Int[np.ndarray, " N"]
    """Their documents, numbered in stream order."""
    positions_N: Int[np.ndarray, " N"]
    """How many tokens each could look back on: 0 at the beginning of a piece (of a row with `cross_documents`)."""

    @property
    def real_BS(self) -> Bool[Tensor, "B S"]:
        """False at padding. Selecting by it gives the tokens in stream order."""
        return self.segments_BS != PADDING


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive tokens of one document, BOS included."""

    tokens: Int[np.ndarray, " N"]
    document: int


class TokenStream:
    """The batches of a text up to `n_tokens` tokens; the same text, tokenizer, settings and seed give the same batches.

    `labels` and `document_sources` grow as documents are reached. A stream can be iterated once.
    """

    def __init__(self, model: Model, text: OpenText, *, packing: Packing, seed: int, n_tokens: int) -> None:
        self.labels: list[str] = []
        """Document number → where it comes from."""
        self.document_sources: list[int] = []
        """Document number → number of its source."""
        self.bos_token = bos_token(model.tokenizer, packing)
        """Id that begins every piece, or None."""
        self._tokenizer, self._text, self._packing, self._seed = model.tokenizer, text, packing, seed
        self._left = n_tokens

    def __iter__(self) -> Iterator[TokenBatch]:
        rows = self._rows()
        while batch := list(islice(rows, self._packing.rows_per_batch)):
            yield _batch(batch, one_segment=self._packing.cross_documents)

    def _rows(self) -> Iterator[list[_Piece]]:
        row, room = list[_Piece](), self._packing.context
        for document, ids in enumerate(self._documents()):
            start = 0
            while start < len(ids) and self._left > 0:
                if row and room < self._least(len(ids) - start):
                    yield row
                    row, room = [], self._packing.context
                piece, taken = self._piece(document, ids[start:], room)
                row.append(piece)
                start, room, self._left = start + taken, room - len(piece.tokens), self._left - len(piece.tokens)
        if row:
            yield row

    def _piece(self, document: int, ids: Int[np.ndarray, " N"], room: int) -> tuple[_Piece, int]:
        """The longest piece that fits into `room`, and how many of `ids` it took."""
        bos = np.array([] if self.bos_token is None else [self.bos_token], np.int32)
        taken = max(0, min(len(ids), min(room, self._left) - len(bos)))
        return _Piece(np.concatenate([bos, ids[:taken]]), document), taken

    def _least(self, n_left: int) -> int:
        """Places that a row must still have for a piece of a document with `n_left` tokens to begin in it."""
        n_bos = 0 if self.bos_token is None else 1
        if self._packing.one_piece_per_row:
            return self._packing.context
        return n_bos + 1 if self._packing.cross_documents else min(self._packing.min_piece, n_bos + n_left)

    def _documents(self) -> Iterator[Int[np.ndarray, " N"]]:
        """Token ids of each document without BOS, sources interleaved by their share of tokens."""
        packing, n_sources = self._packing, len(self._text.sources)
        seed = self._seed if packing.shuffle else None
        texts = [readable(self._text, i, seed=seed, max_chars=packing.max_document_chars) for i in range(n_sources)]
        streams = [map(self._encode, documents) for documents in texts]
        for source, (label, ids) in interleave(streams, shares=self._text.shares, size=lambda item: len(item[1])):
            if len(ids):
                self.labels.append(label)
                self.document_sources.append(source)
                yield ids
            if self._left <= 0:
                return

    def _encode(self, document: Document) -> tuple[str, Int[np.ndarray, " N"]]:
        ids = encode(self._tokenizer, document, chat=self._packing.chat)
        if self.bos_token is not None and len(ids) and ids[0] == self.bos_token:
            ids = ids[1:]  # a chat template's own: it would stand twice
        return document.source, ids


def check_packing(model: Model, packing: Packing) -> None:
    """Raise ConfigError when the settings do not fit `model`, ModelError when it cannot keep packed documents apart."""
    if packing.context > model.context_length:
        raise ConfigError(f"context is {packing.context}, {model.name} reads at most {model.context_length} tokens")
    if packing.chat and not model.tokenizer.chat_template:
        raise ConfigError(f"{model.name} has no chat template; leave out chat")
    if packing.bos == "always" and model.tokenizer.bos_token_id is None:
        log.warning("%s has no BOS token: pieces of documents begin without one", model.name)
    if not packing.cross_documents and not packing.one_piece_per_row:
        require_packing(model)


def bos_token(tokenizer: "PreTrainedTokenizerBase", packing: Packing) -> int | None:
    """The id that begins every piece of a document under `packing.bos`, or None."""
    bos = tokenizer.bos_token_id
    if packing.bos == "never" or not isinstance(bos, int):
        return None
    return bos if packing.bos == "always" or tokenizer("a")["input_ids"][0] == bos else None


def encode(tokenizer: "PreTrainedTokenizerBase", document: Document, *, chat: bool) -> Int[np.ndarray, " N"]:
    """Token ids of a document, nothing added. Spellings of special tokens inside a text are plain text.

    With `chat`, the chat template's ids: a conversation turn by turn, plain text as one user message.
    """
    if not chat:
        ids = tokenizer(document.text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        return np.array(ids, np.int32)
    messages = [dict(turn) for turn in document.messages] or [{"role": "user", "content": document.text}]
    try:
        ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    except Exception as error:  # templates raise what they like, such as "roles must alternate"
        raise ConfigError(f"{document.source} does not fit the chat template: {error}") from error
    return np.array(ids, np.int32)


def _batch(rows: list[list[_Piece]], *, one_segment: bool) -> TokenBatch:
    width = max(sum(len(piece.tokens) for piece in row) for row in rows)
    tokens_BS = np.empty((len(rows), width), np.int64)
    segments_BS = np.full((len(rows), width), PADDING, np.int64)
    positions: list[np.ndarray] = []
    for r, row in enumerate(rows):
        lengths = [len(piece.tokens) for piece in row]
        n = sum(lengths)
        tokens_BS[r, :n] = np.concatenate([piece.tokens for piece in row])
        tokens_BS[r, n:] = tokens_BS[r, n - 1]
        segments_BS[r, :n] = 0 if one_segment else np.repeat(np.arange(len(row)), lengths)
        positions += [np.arange(length) for length in ([n] if one_segment else lengths)]
    pieces = [piece for row in rows for piece in row]
    documents = np.repeat([piece.document for piece in pieces], [len(piece.tokens) for piece in pieces])
    return TokenBatch(
        tokens_BS=torch.from_numpy(tokens_BS),
        segments_BS=torch.from_numpy(segments_BS),
        tokens_N=np.concatenate([piece.tokens for piece in pieces]),
        documents_N=documents.astype(np.int32),
        positions_N=np.concatenate(positions).astype(np.int32),
    )
