"""The words that may stand in an explanation, and their vectors in the unembedding."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.features.tokens import TokenTable
from bathyscope.models.model import Model
from bathyscope.models.unembed import unembedding

MAX_LETTERS = 30
_SUFFIXES = (("ies", "y"), ("es", ""), ("s", ""), ("ied", "y"), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularySettings:
    """Which words may stand in an explanation."""

    min_count: int = 2
    """Fewest occurrences of a word; matters where the text has fewer words than are wanted."""
    min_letters: int = 3
    """Shortest word."""
    ascii_only: bool = False
    """Leave out words with letters other than a–z."""
    drop_stop_words: bool = False
    """Leave out common English function words (`stop_words.txt`)."""
    merge_inflections: bool = False
    """Count English -s, -es, -ed and -ing forms as their base form where that occurs, too; before truncation."""
    fill_from_tokenizer: bool = False
    """Where the text has too few words, add tokens that read like words, in their order (some only begin a word)."""

    def __post_init__(self) -> None:
        if self.min_count < 1 or self.min_letters < 1:
            raise ConfigError(f"min_count is {self.min_count} and min_letters {self.min_letters}, expected at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Words, most frequent first; those of the tokenizer alone come last with count 0."""

    words: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def digest(self) -> str:
        """sha256 of the words in their order, one per line."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()


def build_vocabulary(
    counted: Mapping[str, int], table: TokenTable, settings: VocabularySettings, *, n_words: int
) -> Vocabulary:
    """At most `n_words` words of a text that the settings allow, most frequent first (ties in alphabetical order).

    Forms that differ in case count as one word, written as it is most often. Raises ConfigError when none is left.
    """
    counts = folded(counted)
    if settings.merge_inflections:
        counts = _merged(counts)
    allowed = {word: n for word, n in counts.items() if n >= settings.min_count and is_allowed(word, settings)}
    ranked = sorted(allowed, key=lambda word: (-allowed[word], word))[:n_words]
    if settings.fill_from_tokenizer:
        ranked += _single_tokens(ranked, table, settings, n_words=n_words)
    if len(ranked) < 2:
        raise ConfigError(
            f"the text has {len(ranked)} words with {settings.min_letters} letters and {settings.min_count} "
            "occurrences, at least 2 are needed; index more text or lower min_count"
        )
    return Vocabulary(words=tuple(ranked), counts=tuple(allowed.get(word, 0) for word in ranked))


def word_vectors(model: Model, words: Sequence[str]) -> tuple[Float[Tensor, "V D"], Int[np.ndarray, " V"]]:
    """Mean of the unembedding rows of the tokens of `" " + word`, and the number of those tokens."""
    ids = [_tokens(model, word) for word in words]
    lengths = np.array([len(own) for own in ids])
    offsets = torch.from_numpy(np.cumsum(lengths) - lengths)
    flat = torch.tensor([token for own in ids for token in own])
    U_VD = unembedding(model).float().cpu()
    return torch.nn.functional.embedding_bag(flat, U_VD, offsets, mode="mean"), lengths


def stop_words() -> frozenset[str]:
    """Common English function words of three letters or more."""
    return frozenset(resources.files("bathyscope.explanations").joinpath("stop_words.txt").read_text("utf-8").split())


def folded(counted: Mapping[str, int]) -> dict[str, int]:
    """Counts with case folded, under the form that is written most often."""
    total, forms = Counter[str](), dict[str, tuple[int, str]]()
    for word, n in counted.items():
        key = word.casefold()
        total[key] += n
        forms[key] = min(forms.get(key, (0, word)), (-n, word))
    return {forms[key][1]: n for key, n in total.items()}


def base_form(word: str, by_fold: dict[str, str]) -> str | None:
    """The first base form of `word` that occurs (at least three letters), by the suffix rules in order."""
    for suffix, ending in _SUFFIXES:
        stem = word.removesuffix(suffix) + ending
        if word.endswith(suffix) and len(stem) >= 3 and stem in by_fold:
            return by_fold[stem]
    return None


def base_numbers(words: Sequence[str]) -> Int[np.ndarray, " V"]:
    """For each word the number of its base form where that is among `words`, else its own number."""
    by_fold = {word.casefold(): word for word in words}
    number = {word: i for i, word in enumerate(words)}
    found = [base_form(word.casefold(), by_fold) for word in words]
    return np.array([i if base is None else number[base] for i, base in enumerate(found)], dtype=np.int64)


def is_allowed(word: str, settings: VocabularySettings) -> bool:
    """Whether the settings let a word stand in an explanation, its count aside."""
    if not settings.min_letters <= len(word) <= MAX_LETTERS or (settings.ascii_only and not word.isascii()):
        return False
    return not settings.drop_stop_words or word.casefold() not in stop_words()


def _tokens(model: Model, word: str) -> list[int]:
    """Ids of " " + word, without the lone space that some SentencePiece tokenizers put in front."""
    ids = [int(i) for i in model.tokenizer(" " + word, add_special_tokens=False)["input_ids"]]
    has_lone_space = len(ids) > 1 and model.tokenizer.convert_ids_to_tokens(ids[:1]) == ["▁"]
    return ids[1:] if has_lone_space else ids


def _merged(counts: dict[str, int]) -> dict[str, int]:
    """Counts with inflected forms added to base forms that occur, too."""
    merged, by_fold = dict[str, int](), {word.casefold(): word for word in counts}
    for word, n in counts.items():
        base = base_form(word.casefold(), by_fold) or word
        merged[base] = merged.get(base, 0) + n
    return merged


def _single_tokens(taken: Iterable[str], table: TokenTable, settings: VocabularySettings, *, n_words: int) -> list[str]:
    """Words that are one token with a space before it, in order of the id, as many as are missing."""
    known, found = {word.casefold() for word in taken}, list[str]()
    for i, piece in enumerate(table.pieces):
        if len(known) >= n_words:
            break
        word = piece[1:].decode("utf-8", "replace") if piece.startswith(b" ") and i not in table.special else ""
        if re.fullmatch(r"[^\W\d_]+", word) and word.casefold() not in known and is_allowed(word, settings):
            known.add(word.casefold())
            found.append(word)
    return found
