"""Completeness: which listed concepts have a feature, and how often a concept must occur for even chances of one.

A word is covered when the feature that tells it best on the choosing documents tells it on the held-out documents, too:
recall and precision (see `occurrences`) both at least at their bounds. The chance of being covered is fitted by

    P(covered) = 1 / (1 + exp(−slope · (log10 frequency − midpoint)))        frequency = share of the text's tokens

(Templeton et al. 2024, feature completeness). Nulls: the same words with their occurrences in other words' places, and
a random dictionary that is as sparse.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bathyscope import artifacts, progress
from bathyscope.activations.match import require_same_model, shared_hookpoint
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.signs import require_positive_codes
from bathyscope.errors import ConfigError
from bathyscope.evaluation.coverage_curve import fit_coverage
from bathyscope.evaluation.intervals import Interval, bootstrap
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.occurrences import ListedWord, Occurrences, find_occurrences, listed_words, telling
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.features.tokens import TokenTable
from bathyscope.features.words import text_words
from bathyscope.models.model import Model

CONCEPTS = "concepts.jsonl"
OWN, SHUFFLED, RANDOM = "dictionary", "shuffled words", "random dictionary"
OF_THE_TEXT = "words of the text"
ENCODED_ROWS = 4096
NULL_ROWS = 20_000
"""Choosing rows on which the random dictionary is centred and scaled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletenessSettings:
    """Which words, how much text, and when a word counts as covered."""

    n_text_words: int = 200
    """Words of the text itself, beside the lists: evenly spaced in order of frequency."""
    min_count: int = 5
    """Fewest occurrences in each half; rarer words cannot be measured and are left out."""
    n_choosing: int = 200_000
    """Activations of other documents on which the features are chosen; the held-out documents are read whole."""
    recall: float = 0.5
    """Least share of a word's occurrences on which its feature fires."""
    precision: float = 0.5
    """Least share of the feature's firings that lie in the word."""
    n_resamples: int = 1000
    """Resamples of words for the intervals."""
    seed: int = 0
    """Seed of the choice of documents, the nulls and the resamples."""

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1 or not 0 < self.precision <= 1:
            raise ConfigError("recall and precision must be above 0 and at most 1")
        if min(self.min_count, self.n_choosing, self.n_resamples) < 1 or self.n_text_words < 0:
            raise ConfigError("min_count, n_choosing and n_resamples must be at least 1, n_text_words at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One row of `concepts.jsonl`: a word and the feature that tells it best."""

    word: str
    category: str
    frequency: float
    """Share of the read text's tokens."""
    n: int
    """Occurrences in the held-out documents."""
    feature: int
    """Chosen on the other documents."""
    recall: float
    """On the held-out documents."""
    precision: float
    is_covered: bool


def completeness(
    model: Model,
    dictionary: Dictionary,
    store: ActivationStore,
    *,
    out: str | Path,
    parents: Mapping[str, Path] | None = None,
    settings: CompletenessSettings = CompletenessSettings(),
) -> list[Score]:
    """Shares of covered words by category, and the curve over frequency, beside nulls (folder of kind `scores`).

    `concepts.jsonl` holds every word with its feature. Raises ConfigError when store, dictionary and model do not
    belong together, and when fewer than 20 words are frequent enough.
    """
    out = Path(out)
    dictionary.require_selection("completeness")
    require_positive_codes(dictionary, "completeness")
    require_same_model(model, dictionary, store)
    hookpoint = shared_hookpoint(dictionary, store)
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "completeness",
            "dictionary": dictionary.digest,
            "hookpoint": hookpoint,
            "words": [tuple(word) for word in listed_words()],
            "settings": settings,
        },
        seed=settings.seed,
        parents=parents or {},
        materials=store.materials,
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            rows, covered = _measure(_Job(model, dictionary, store, hookpoint, settings))
            write_scores(work.path, rows)
            lines = "".join(json.dumps(asdict(one), sort_keys=True, ensure_ascii=False) + "\n" for one in covered)
            artifacts.write_atomic(work.path / CONCEPTS, lines.encode())
    return read_scores(out)


def read_coverage(path: Path) -> list[Coverage]:
    """The words of a finished folder. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind="scores")
    text = artifacts.check_file(path, manifest, CONCEPTS).read_text()
    return [Coverage(**json.loads(line)) for line in text.splitlines() if line]


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call was asked for."""

    model: Model
    dictionary: Dictionary
    store: ActivationStore
    hookpoint: str
    settings: CompletenessSettings


class _Half(NamedTuple):
    """Rows of some documents, and the words that stand there."""

    rows: Int[np.ndarray, " N"]
    words: Occurrences


class _Firings(NamedTuple):
    """Where features fire in one half: row and feature of every firing."""

    rows: Int[np.ndarray, " E"]
    features: Int[np.ndarray, " E"]


def _measure(job: _Job) -> tuple[list[Score], list[Coverage]]:
    listed, halves, n_tokens = _words(job)
    x_ND = job.store.read(halves[0].rows[:NULL_ROWS], job.hookpoint).float()
    l0 = max(1, round(float((job.dictionary.encode(x_ND).values_NK > 0).sum()) / len(x_ND)))
    null = random_dictionary(job.dictionary, x_ND, k=min(l0, job.dictionary.n_features), seed=job.settings.seed)
    own, own_alive = _firings(job, job.dictionary, halves, OWN)
    random, _ = _firings(job, null, halves, RANDOM)
    counts = halves[0].words.counts + halves[1].words.counts
    frequency_W = counts / n_tokens
    shuffled = tuple(_Half(half.rows, half.words.shuffled(seed=job.settings.seed + i)) for i, half in enumerate(halves))
    rows: list[Score] = [_figure(OWN, "alive features", float(own_alive))]
    covered: list[Coverage] = []
    for subject, firings, where in ((OWN, own, halves), (SHUFFLED, own, shuffled), (RANDOM, random, halves)):
        found = _covered(listed, frequency_W, where, firings, job)
        rows += _rows(subject, found, own_alive, job.settings)
        covered = covered or found
    return rows, covered


def _words(job: _Job) -> tuple[list[ListedWord], tuple[_Half, _Half], int]:
    """The words that occur often enough in both halves, the halves, and how many tokens both have."""
    store, settings = job.store, job.settings
    documents_A = np.asarray(store.documents)[store.row_tokens()]
    held_out = store.rows("held_out")
    if len(held_out) == 0:
        raise ConfigError(f"{store.path} holds no held-out document: collect more text or a larger held-out share")
    choosing = _some_documents(store.rows("train"), documents_A, settings.n_choosing, seed=settings.seed)
    table = TokenTable.of(job.model.tokenizer)
    candidates = [*listed_words(), *_of_the_text(store, table, settings.n_text_words)]
    names = [candidate.word for candidate in candidates]
    halves = [_Half(rows, _occurrences(store, rows, names, table)) for rows in (choosing, held_out)]
    enough = np.flatnonzero(np.minimum(halves[0].words.counts, halves[1].words.counts) >= settings.min_count)
    if len(enough) < 20:
        raise ConfigError(
            f"only {len(enough)} words occur {settings.min_count} times in both halves, expected at least 20; collect "
            "more text or lower min_count"
        )
    number = np.full(len(candidates) + 1, -1)
    number[enough] = np.arange(len(enough))
    kept = [
        _Half(half.rows, Occurrences(row_N=half.words.row_N, word_O=number[half.words.word_O], n_words=len(enough)))
        for half in halves
    ]
    return [candidates[i] for i in enough], (kept[0], kept[1]), len(choosing) + len(held_out)


def _some_documents(
    rows: Int[np.ndarray, " N"], documents_A: Int[np.ndarray, " A"], n: int, *, seed: int
) -> Int[np.ndarray, " M"]:
    """The rows of documents drawn at random until there are `n`, in stream order; `documents_A` is of all rows."""
    documents = documents_A[rows]
    names, counts = np.unique(documents, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    n_chosen = int(np.searchsorted(np.cumsum(counts[order]), n)) + 1
    return rows[np.isin(documents, names[order[:n_chosen]])]


def _of_the_text(store: ActivationStore, table: TokenTable, n: int) -> list[ListedWord]:
    """`n` words of the text's held-out documents, evenly spaced in order of frequency; none that a list has."""
    rows = store.row_tokens()[store.rows("held_out")]
    text = text_words(np.asarray(store.tokens)[rows], np.asarray(store.documents)[rows], table)
    counts: dict[str, int] = {}
    for word, count in zip(text.words, text.counts.tolist(), strict=True):
        counts[word.casefold()] = counts.get(word.casefold(), 0) + count
    known = {listed.word.casefold() for listed in listed_words()}
    ranked = sorted((w for w, c in counts.items() if c >= 2 and w not in known), key=lambda w: (-counts[w], w))
    places = np.unique(np.geomspace(1, max(len(ranked), 1), num=n).astype(int) - 1) if ranked and n else []
    return [ListedWord(ranked[place], OF_THE_TEXT) for place in places]


def _occurrences(
    store: ActivationStore, rows: Int[np.ndarray, " N"], names: list[str], table: TokenTable
) -> Occurrences:
    """Occurrences among the tokens of the documents that the rows come from."""
    has_row_T = np.zeros(store.n_tokens, dtype=bool)
    has_row_T[store.row_tokens()[rows]] = True
    documents_T = np.asarray(store.documents)
    chosen = np.flatnonzero(np.isin(documents_T, np.unique(documents_T[has_row_T])))
    return find_occurrences(names, np.asarray(store.tokens)[chosen], documents_T[chosen], has_row_T[chosen], table)


def _firings(job: _Job, dictionary: Dictionary, halves: tuple[_Half, _Half], stage: str) -> tuple[list[_Firings], int]:
    """Where every feature fires in each half (16 bytes a firing), and how many fire at all in the choosing half."""
    found: list[_Firings] = []
    for half in halves:
        rows: list[np.ndarray] = []
        features: list[np.ndarray] = []
        for start in range(0, len(half.rows), ENCODED_ROWS):
            x_ND = job.store.read(half.rows[start : start + ENCODED_ROWS], job.hookpoint).float()
            codes = dictionary.encode(x_ND.to(dictionary.device))
            fires_NK = codes.values_NK > 0
            rows.append((fires_NK.nonzero()[:, 0] + start).cpu().numpy())
            features.append(codes.indices_NK[fires_NK].cpu().numpy())
            progress.report(f"completeness: {stage}", start + len(x_ND), len(half.rows), "tokens")
        found.append(_Firings(np.concatenate(rows), np.concatenate(features)))
    return found, len(np.unique(found[0].features))


def _covered(
    listed: list[ListedWord],
    frequency_W: Float[np.ndarray, " W"],
    halves: tuple[_Half, ...],
    firings: list[_Firings],
    job: _Job,
) -> list[Coverage]:
    """Every word with the feature of highest F1 on the choosing half, told on the other."""
    settings, n_features = job.settings, job.dictionary.n_features
    choosing = telling(halves[0].words, *firings[0], n_features=n_features)
    total_WF = choosing.recall_WF + choosing.precision_WF
    f1_WF = choosing.recall_WF * choosing.precision_WF / np.where(total_WF > 0, total_WF, 1)
    best_W = f1_WF.argmax(axis=1)
    report = telling(halves[1].words, *firings[1], n_features=n_features)
    counts = halves[1].words.counts
    found: list[Coverage] = []
    for number, (listed_word, feature) in enumerate(zip(listed, best_W.tolist(), strict=True)):
        recall, precision = float(report.recall_WF[number, feature]), float(report.precision_WF[number, feature])
        found.append(
            Coverage(
                word=listed_word.word,
                category=listed_word.category,
                frequency=float(frequency_W[number]),
                n=int(counts[number]),
                feature=feature,
                recall=round(recall, 6),
                precision=round(precision, 6),
                is_covered=recall >= settings.recall and precision >= settings.precision,
            )
        )
    return found


def _rows(subject: str, found: list[Coverage], alive: int, settings: CompletenessSettings) -> list[Score]:
    """Covered shares, over all and by category, and the curve with the frequency of even chances."""
    covered_W = np.array([one.is_covered for one in found])
    log_W = np.log10([one.frequency for one in found])
    rows = [_share(subject, "covered", covered_W, settings)]
    if subject == OWN:
        for category in dict.fromkeys(one.category for one in found):
            own_W = np.array([one.category == category for one in found])
            rows.append(_share(subject, f"covered · {category}", covered_W[own_W], settings))
    curve = fit_coverage(log_W, covered_W, n_resamples=settings.n_resamples, seed=settings.seed)
    if curve is not None:
        rows.append(score(subject, "slope per factor of ten", curve.slope, unit="words"))
        rows.append(score(subject, "frequency of even chances", _power(curve.midpoint), unit="words"))
        if subject == OWN:
            rows.append(
                score(subject, "that frequency × alive features", _power(curve.midpoint, float(alive)), unit="words")
            )
    return rows


def _power(interval: Interval, factor: float = 1.0) -> Interval:
    """10 to the interval, times a factor; no bound where the upper end is above 1, which is no frequency."""
    value, low, high = (
        factor * 10.0**end if end <= 0 else math.inf for end in (interval.value, interval.low, interval.high)
    )
    return Interval(value=value, low=low, high=high, n=interval.n)


def _share(subject: str, metric: str, covered_W: Bool[np.ndarray, " W"], settings: CompletenessSettings) -> Score:
    sums_W2 = np.stack([covered_W.astype(np.float64), np.ones(len(covered_W))], axis=1)
    interval = bootstrap(sums_W2, lambda t: t[..., 0] / t[..., 1], seed=settings.seed, n_resamples=settings.n_resamples)
    return score(subject, metric, interval, unit="words")


def _figure(subject: str, metric: str, value: float) -> Score:
    return score(subject, metric, Interval(value=value, low=-math.inf, high=math.inf, n=1), unit="dictionaries")
