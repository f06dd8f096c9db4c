"""The scoring half: its windows, and the features that fire in enough of them to be scored, cut into two halves."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Draft
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.explanations.evidence import FEW, SILENT
from bathyscope.explanations.reader import Explanations
from bathyscope.explanations.reading import Reading, choose_documents, read_documents
from bathyscope.explanations.scores.windows import ScoringWindows
from bathyscope.explanations.scores.word_classifier import levels_of
from bathyscope.features.draws import random_bits
from bathyscope.features.tokens import TokenTable
from bathyscope.models.model import Model

SCORED, NOT_DRAWN, FEW_WINDOWS = "scored", "not drawn", "few windows"
"""What is said of a feature, besides `few firings` and `silent`."""
_SALT = 0x5C02E


@dataclass(frozen=True, slots=True, kw_only=True)
class WordScoreSettings:
    """Settings of `score_words`."""

    n_features: int = 1000
    """Features scored, drawn from all that fire often enough."""
    n_words: int = 15
    """Words of an explanation that are looked at."""
    min_windows: int = 10
    """Fewest windows of 32 tokens in which a feature fires, and in which it does not, to be scored."""
    n_tokens: int | None = 100_000
    """Tokens of scoring documents that are read; None: all of them."""
    n_resamples: int = 200
    """Resamples of documents behind each interval."""
    seed: int = 0
    """Seed of features drawn, halves, shuffles and resamples."""

    def __post_init__(self) -> None:
        if min(self.n_features, self.n_words, self.min_windows, self.n_resamples) < 1 or self.n_tokens == 0:
            raise ConfigError("n_features, n_words, min_windows, n_resamples and n_tokens are at least 1")


@dataclass(frozen=True, slots=True)
class ScoringHalf:
    """The scoring half, and the features that are scored on it."""

    settings: WordScoreSettings
    reading: Reading
    windows: ScoringWindows
    status: list[str]
    """Of every feature of the dictionary."""
    features: Int[np.ndarray, " F"]
    """Scored features, ascending."""
    is_reporting: Bool[np.ndarray, " F"]
    """Which of them are in the second half."""
    levels_FW: Int[np.ndarray, "F W"]

    @property
    def shuffled(self) -> Int[np.ndarray, " F"]:
        """For each scored feature the place of another one of its own half."""
        order = np.argsort(random_bits(self.settings.seed + 1, self.features, np.full(len(self.features), _SALT)))
        found = np.empty(len(order), dtype=np.int64)
        for half in (False, True):
            own = order[self.is_reporting[order] == half]
            found[own] = np.roll(own, 1)
        return found


def open_half(
    explanations: Explanations,
    model: Model,
    dictionary: Dictionary,
    store: ActivationStore,
    settings: WordScoreSettings,
    *,
    work: Draft,
) -> ScoringHalf:
    """Read the scoring documents and draw features.

    Raises ConfigError when a document that words were read off would be scored on, or when too few features fire.
    """
    table = TokenTable.of(model.tokenizer)
    documents = choose_documents(store, "scoring", seed=explanations.seed, n_tokens=settings.n_tokens)
    leaked = np.intersect1d(documents, explanations.explaining_documents)
    if len(leaked):
        raise ConfigError(f"document {leaked[0]} was explained from and cannot be scored on; give the same activations")
    reading = read_documents(store, dictionary, documents, table, work=work)
    windows = ScoringWindows(reading, table)
    status = _statuses(explanations, reading, windows, settings)
    features = np.flatnonzero(np.array(status) == SCORED)
    if len(features) < 4:
        raise ConfigError(
            f"{len(features)} features fire in {settings.min_windows} windows and are silent in as many: too few to "
            "score; read more tokens or lower min_windows"
        )
    halves = np.argsort(random_bits(settings.seed, features, np.full(len(features), _SALT))) % 2 == 1
    levels = [levels_of(windows.peaks(reading.postings.block(f, f + 1))[0]) for f in features.tolist()]
    return ScoringHalf(settings, reading, windows, status, features, halves, np.stack(levels))


def _statuses(
    explanations: Explanations, reading: Reading, windows: ScoringWindows, settings: WordScoreSettings
) -> list[str]:
    """Of every feature: scored, or why not."""
    n_firing = np.concatenate(
        [(windows.peaks(block) > 0).sum(1) for block in reading.postings.blocks(multiple=64, limit=200_000)]
    )
    explained = explanations.evidence["status"].to_pylist()
    enough = (n_firing >= settings.min_windows) & (len(windows) - n_firing >= settings.min_windows)
    enough &= ~np.isin(np.array(explained), [FEW, SILENT])
    able = np.flatnonzero(enough)
    drawn = able[np.argsort(random_bits(settings.seed, able, np.full(len(able), _SALT + 1)))][: settings.n_features]
    found = [own if own in (FEW, SILENT) else FEW_WINDOWS for own in explained]
    for feature in able.tolist():
        found[feature] = NOT_DRAWN
    for feature in drawn.tolist():
        found[feature] = SCORED
    return found
