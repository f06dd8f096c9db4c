"""`Document`, what all texts are made of, and `Source`, what all kinds of text are.

Also the small rules that every source shares: which strings are text, where long ones are cut, how a missing column
is reported.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol, runtime_checkable

import numpy as np

from bathyscope.errors import ConfigError

Message = Mapping[str, str]
"""One turn of a conversation: role and content."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text that is read on its own."""

    text: str
    """What is tokenised; of a conversation, its turns joined by blank lines."""
    source: str
    """Where it comes from, such as `reviews.jsonl:text #12`."""
    messages: tuple[Message, ...] = ()
    """The turns, if it is a conversation."""


@runtime_checkable
class Source(Protocol):
    """A kind of text that has been opened and found readable."""

    @property
    def name(self) -> str:
        """What a manifest calls it: no folders, nothing of a person."""
        ...

    def record(self) -> dict[str, str]:
        """Provenance for manifests: name, version, sha256, licence, origin."""
        ...

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """Its documents: in their own order without `rng`, else in an order drawn from it."""
        ...


def fault(text: str) -> str:
    """Why `text` cannot be a document: `empty`, `holding NUL characters`, `not valid Unicode`, or nothing."""
    if not text.strip():
        return "empty"
    if "\0" in text:
        return "holding NUL characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not valid Unicode"
    return ""


def cut(document: Document, *, limit: int) -> list[Document]:
    """`document` in parts of at most `limit` characters; 0 or a conversation: uncut.

    A part ends at the last blank line of its second half, else at the last line break, else at the last space, else
    where the limit falls. Joining the parts gives back the text.
    """
    if not limit or len(document.text) <= limit or document.messages:
        return [document]
    parts = cut_text(document.text, limit=limit)
    return [Document(part, f"{document.source}, part {i + 1}") for i, part in enumerate(parts)]


def cut_text(text: str, *, limit: int) -> list[str]:
    """`text` in parts of at most `limit` characters, see `cut`."""
    parts, start = list[str](), 0
    while len(text) - start > limit:
        stop = start + limit
        for mark in ("\n\n", "\n", " "):
            at = text.rfind(mark, start + limit // 2, stop)
            if at >= 0:
                stop = at + len(mark)
                break
        parts.append(text[start:stop])
        start = stop
    return [*parts, text[start:]]


def require_column(column: str, found: Iterable[str], *, where: str) -> None:
    """Raise ConfigError with the nearest names when `column` is not among the columns `found`."""
    names = list(found)
    if column not in names:
        near = get_close_matches(column, names, n=3, cutoff=0.4) or names[:8]
        remedy = f"name one as {where}:{near[0]}" if near else "it has no columns"
        raise ConfigError(f"{where} has no column {column!r}; nearest: {', '.join(near) or 'none'} ({remedy})")
