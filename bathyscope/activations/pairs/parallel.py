"""Pairs from parallel scripture: the same verse in two languages, other verses, or both at once.

The factors are `language` and `verse`. A verse is what both texts are about, so a change of it is a change of nearly
everything else: a large nuisance that language has to be told from.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bathyscope import materials
from bathyscope.activations.pairs.pair import Pair, PairSet, full_support
from bathyscope.config import to_json
from bathyscope.errors import ConfigError

LANGUAGES: dict[str, dict[str, str]] = {
    "catholic-bible": {"en": "douay-rheims.json", "pt": "matos-soares.json", "la": "vulgata-clementina.json"},
    "quran": {"fr": "quran_fr.json", "es": "quran_es.json"},
}
"""Material → language → file."""
FACTORS = ("language", "verse")

Verse = tuple[str, dict[str, str]]
"""Key of a verse, and its text by language."""
Kind = tuple[str, ...]
"""The factors that a pair changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verses:
    """The same verses in several languages."""

    keys: tuple[str, ...]
    """`GEN.1.1` or `2.6`: chapter and verse."""
    texts: Mapping[str, tuple[str, ...]]
    """Language → texts, in the order of the keys."""
    record: Mapping[str, str]
    """Where they come from, for manifests."""


def parallel_verses(material: str, *, min_chars: int, max_chars: int) -> Verses:
    """The verses that every language of `material` has, different in each, with lengths in the given range."""
    if material not in LANGUAGES:
        raise ConfigError(f"no parallel text is named {material!r}; expected one of: {', '.join(LANGUAGES)}")
    fetched = materials.fetch(material)
    texts = {language: _verses(fetched.files[file]) for language, file in LANGUAGES[material].items()}
    first, *others = texts.values()
    keys = [key for key in first if all(key in other for other in others)]
    keys = [key for key in keys if len({own[key] for own in texts.values()}) == len(texts)]
    keys = [key for key in keys if all(min_chars <= len(own[key]) <= max_chars for own in texts.values())]
    return Verses(
        keys=tuple(keys),
        texts={language: tuple(own[key] for key in keys) for language, own in texts.items()},
        record=fetched.record(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelVerses:
    """Pairs of verses that differ in language, verse, or both."""

    material: Literal["catholic-bible", "quran"] = "catholic-bible"
    """The parallel text; the Bible here has English, Portuguese and Latin, the Quran French and Spanish."""
    start: str = "en"
    """Language of the first side, and of both sides where only the verse changes."""
    end: str = "pt"
    """Language of the second side where the language changes."""
    language: float = 1.0
    """Share of the pairs that differ in language only."""
    verse: float = 0.0
    """Share of the pairs that differ in verse only."""
    both: float = 0.0
    """Share of the pairs that differ in both."""
    max_chars: int = 200
    """Verses longer than this in either language are left out."""
    min_chars: int = 20
    """Verses shorter than this in either language are left out."""

    def __post_init__(self) -> None:
        known = LANGUAGES[self.material]
        for name in (self.start, self.end):
            if name not in known:
                raise ConfigError(f"{self.material} has no language {name!r}; expected one of: {', '.join(known)}")
        if self.start == self.end:
            raise ConfigError(f"both languages are {self.start!r}; choose two of: {', '.join(known)}")
        if min(self.language, self.verse, self.both) < 0 or self.language + self.verse + self.both == 0:
            raise ConfigError("language, verse and both are shares of at least 0, not all 0")
        if not 0 <= self.min_chars <= self.max_chars:
            raise ConfigError(f"min_chars is {self.min_chars} and max_chars {self.max_chars}, expected a range")

    def draw(self, *, n: int | None, seed: int) -> PairSet:
        """`n` different pairs drawn with `seed`; None takes every verse once. Pairs are grouped by chapter.

        Other verses come from the same chapter, so that halves by chapter share none. Raises ConfigError when there
        are fewer verses.
        """
        fetched = materials.fetch(self.material)
        files = {name: fetched.files[LANGUAGES[self.material][name]] for name in (self.start, self.end)}
        verses = self._fitting({name: _verses(path) for name, path in files.items()})
        shares = {("language",): self.language, ("verse",): self.verse, FACTORS: self.both}
        shares = {kind: share for kind, share in shares.items() if share > 0}
        used = tuple(name for name in FACTORS if any(name in kind for kind in shares))
        pairs = self._drawn(verses, shares, used, n=n, seed=seed)
        return PairSet(
            name=f"{self.material} {self.start}-{self.end}",
            factors=used,
            pairs=tuple(pairs),
            description=f"verses of {self.material}: {self.start} becomes {self.end}, another verse, or both",
            materials=(fetched.record(),),
            drawn={"source": to_json(self), "n": n, "seed": seed},
        )

    def _drawn(
        self, verses: list[Verse], shares: Mapping[Kind, float], used: tuple[str, ...], *, n: int | None, seed: int
    ) -> list[Pair]:
        """One pair per verse in a drawn order; the kind that is furthest behind its share comes next."""
        chapters = _by_chapter(verses)
        taken = dict.fromkeys(shares, 0)
        pairs: list[Pair] = []
        seen: set[tuple[str, str]] = set()
        for i in np.random.default_rng(seed).permutation(len(verses)).tolist():
            if len(pairs) == n:
                break
            kind = min(shares, key=lambda kind: taken[kind] / shares[kind])
            pair = self._pair(verses, i, kind, used, chapters)
            if pair is not None and pair.sides not in seen:
                seen.add(pair.sides)
                pairs.append(pair)
                taken[kind] += 1
        if n is not None and len(pairs) < n:
            raise ConfigError(f"{self.material} gives {len(pairs)} pairs of fitting verses, {n} are asked; lower n")
        return pairs

    def _fitting(self, texts: Mapping[str, Mapping[str, str]]) -> list[Verse]:
        """Key and texts of the verses that exist in both languages, differ, and fit the lengths."""
        one, other = texts[self.start], texts[self.end]
        keys = [key for key in one if key in other and one[key] != other[key]]
        fits = [k for k in keys if all(self.min_chars <= len(t[k]) <= self.max_chars for t in (one, other))]
        return [(key, {self.start: one[key], self.end: other[key]}) for key in fits]

    def _pair(
        self, verses: list[Verse], i: int, kind: Kind, used: tuple[str, ...], chapters: Mapping[str, list[int]]
    ) -> Pair | None:
        """Verse number i with itself or with the next one of its chapter; None where that says the same."""
        key, texts = verses[i]
        there = chapters[_chapter(key)]
        j = there[(there.index(i) + 1) % len(there)] if "verse" in kind else i
        end = self.end if "language" in kind else self.start
        before, after = texts[self.start], verses[j][1][end]
        if before == after or ("verse" in kind and i == j):
            return None
        sides = {"language": (self.start, end), "verse": (key, verses[j][0])}
        return Pair(
            before=before,
            after=after,
            support=full_support(used, kind),
            values_before={name: sides[name][0] for name in used},
            values_after={name: sides[name][1] for name in used},
            group=_chapter(key),
            source=f"{self.material} {key}" if i == j else f"{self.material} {key} and {verses[j][0]}",
        )


def _verses(path: Path) -> dict[str, str]:
    """`GEN.1.1` or `2.6` → text."""
    data = json.loads(path.read_bytes())
    if isinstance(data, dict):
        return {key: verse["text"].strip() for key, verse in data["verses"].items()}
    return {f"{surah['id']}.{verse['id']}": verse["translation"].strip() for surah in data for verse in surah["verses"]}


def _chapter(key: str) -> str:
    return key.rpartition(".")[0]


def _by_chapter(verses: list[Verse]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, (key, _) in enumerate(verses):
        found.setdefault(_chapter(key), []).append(number)
    return found
