"""Everything that is read off the text of the explaining documents: our two ways and three baselines."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bathyscope import progress
from bathyscope.errors import ConfigError
from bathyscope.explanations.contexts import RankedUnits, context_units, tf_idf_units
from bathyscope.explanations.firing_information import (
    FiringInformation,
    FiringWords,
    discovered,
    p_values,
    rank_units,
    shifted_rows,
)
from bathyscope.explanations.methods import CONTEXTS, N_GRAMS, SET, TF_IDF, TOP
from bathyscope.explanations.n_grams import run_patterns
from bathyscope.explanations.presence import Near, units_near, window_bits
from bathyscope.explanations.ranked import Ranked, named
from bathyscope.explanations.reading import Reading
from bathyscope.explanations.units import TextUnits, shown
from bathyscope.explanations.vocabulary import VocabularySettings, base_numbers, is_allowed
from bathyscope.explanations.word_sets import WordSets, choose_sets
from bathyscope.features.tokens import TokenTable

N_CANDIDATES = 100
"""Best units of a feature among which its set is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextWords:
    """Words of all features by every method of the text."""

    parts: tuple[Ranked, ...]
    n_units: int
    """Words and signs that could be named."""
    n_discovered: int
    """Features with at least one unit that beats the circular shifts."""


class Tested(NamedTuple):
    """Candidates of every feature with their significance."""

    words: FiringWords
    p_value: Float[np.ndarray, "F n"]
    believed: Bool[np.ndarray, "F n"]


def words_of_text(reading: Reading, settings: FiringInformation, table: TokenTable, *, n: int, seed: int) -> TextWords:
    """The `n` best words of every feature, by method. Raises ConfigError when no word of the text may be named."""
    units = allowed_units(reading.units, settings)
    near = units_near(reading.corpus, units.of_token, radius=settings.radius)
    tested = candidates(reading, near, settings, n_units=len(units.names), n=max(n, N_CANDIDATES), seed=seed)
    bits_UB = window_bits(reading.corpus, units.of_token, n_units=len(units.names))
    base_U = base_numbers(units.names)
    sets = choose_sets(reading.postings, reading.corpus, bits_UB, tested.words.units, base_U, n=n)
    present_U = np.bincount(near.units, minlength=len(units.names))
    top = Tested(FiringWords(*(part[:, :n] for part in tested.words)), tested.p_value[:, :n], tested.believed[:, :n])
    enough_F = reading.postings.counts >= settings.min_firings
    parts = (
        _firing(SET, _chosen(sets, tested), units, reading, present_U),
        _firing(TOP, top, units, reading, present_U),
        _share(CONTEXTS, context_units(reading, n=n), reading.units),
        _share(TF_IDF, tf_idf_units(reading, n=n), reading.units),
        _runs(reading, table, n=n),
    )
    parts = tuple(part.only(enough_F) for part in parts)
    return TextWords(parts=parts, n_units=len(units.names), n_discovered=int(tested.believed.any(axis=1).sum()))


def allowed_units(units: TextUnits, settings: FiringInformation) -> TextUnits:
    """The most frequent units that the settings allow, forms merged first where that is asked; others become −1."""
    base_U = np.arange(len(units.names))
    if settings.merge_forms:
        base_U = np.where(units.is_word, base_numbers(units.names), base_U)
    counts_U = np.bincount(base_U, units.counts, minlength=len(units.names)).astype(np.int64)
    words = VocabularySettings(min_letters=settings.min_unit_letters, drop_stop_words=settings.drop_function_words)
    may_U = np.array([is_allowed(name, words) for name in units.names]) & units.is_word
    may_U |= settings.signs & ~units.is_word
    may_U &= counts_U >= settings.min_unit_count
    kept = np.flatnonzero(may_U)
    kept = kept[np.argsort(-counts_U[kept], kind="stable")][: settings.n_units]
    if len(kept) < 2:
        raise ConfigError(
            f"the explaining documents have {len(kept)} words and signs that may be named, at least 2 are needed; "
            "read more tokens or lower min_unit_count"
        )
    number = np.full(len(units.names) + 1, -1, dtype=np.int32)
    number[kept] = np.arange(len(kept))
    return TextUnits(
        names=tuple(units.names[i] for i in kept),
        counts=counts_U[kept],
        is_word=units.is_word[kept],
        of_token=number[np.append(base_U, -1)[units.of_token]],
    )


def candidates(reading: Reading, near: Near, settings: FiringInformation, *, n_units: int, n: int, seed: int) -> Tested:
    """The `n` units of highest information of every feature, with p-values by circular shifts."""
    rank = functools.partial(rank_units, reading.postings, near, n_units=n_units, min_joint=settings.min_joint)
    words, best = rank(np.arange(reading.corpus.n_rows), n=n), list[np.ndarray]()
    for shift in range(settings.n_shifts):
        progress.report("explain: shifts", shift, settings.n_shifts, "shifts")
        turned = shifted_rows(reading.corpus.row_documents, seed=seed + 1 + shift)
        best.append(rank(turned, n=1).scores[:, 0])
    p = p_values(words.scores, np.stack(best))
    p[words.units < 0] = 1.0
    return Tested(words, p, discovered(p, rate=settings.false_discovery))


def _chosen(sets: WordSets, tested: Tested) -> Tested:
    """The candidates that make up the sets, scored by what they add."""
    empty = sets.units < 0
    place = (sets.units[:, :, None] == tested.words.units[:, None, :]).argmax(axis=2)
    joint, p, believed = (
        np.take_along_axis(column, place, axis=1) for column in (tested.words.joint, tested.p_value, tested.believed)
    )
    return Tested(FiringWords(sets.units, sets.scores, joint), np.where(empty, 1.0, p), believed & ~empty)


def _firing(method: str, found: Tested, units: TextUnits, reading: Reading, present_U: Int[np.ndarray, " U"]) -> Ranked:
    fires_F = np.maximum(reading.postings.counts, 1)
    return Ranked(
        method=method,
        words=named(units.names, found.words.units),
        score=found.words.scores,
        p_word=found.words.joint / fires_F[:, None],
        p_feature=found.words.joint / np.maximum(present_U, 1)[found.words.units],
        p_value=found.p_value,
        beats_null=found.believed,
    )


def _share(method: str, found: RankedUnits, units: TextUnits) -> Ranked:
    p_word = found.scores if method == CONTEXTS else None
    return Ranked(method=method, words=named(units.names, found.units), score=found.scores, p_word=p_word)


def _runs(reading: Reading, table: TokenTable, *, n: int) -> Ranked:
    """Patterns as text; their reach is p(w|c), their precision p(c|w)."""
    found, tokens = run_patterns(reading, n=n), reading.corpus.tokens
    texts = np.full(found.last.shape, "", dtype=object)
    for at in zip(*np.nonzero(found.last >= 0), strict=True):
        last = int(found.last[at])
        texts[at] = shown("".join(table.render(tokens[last + 1 - int(found.lengths[at]) : last + 1].tolist())))
    return Ranked(method=N_GRAMS, words=texts, score=found.reach, p_word=found.reach, p_feature=found.precision)
