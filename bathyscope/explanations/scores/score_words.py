"""`score_words`: how well the words of every method predict firing on the scoring half, beside what words by chance do.

Features are cut into two halves: a method may be chosen on the first, and is reported on the second. Intervals come
from resampling documents, the same for every feature and method of a report. A folder of kind `scores`: `scores.jsonl`
(means over features) and `by_feature.parquet`, which also says of every feature that was not scored why not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from bathyscope import artifacts, progress
from bathyscope.activations.match import require_same_model
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import Interval, bootstrap
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.explanations.evidence import FEW, SILENT
from bathyscope.explanations.methods import MUTUAL_INFORMATION
from bathyscope.explanations.reader import Explanations
from bathyscope.explanations.reading import Reading, choose_documents, read_documents
from bathyscope.explanations.scores.example_embedding import TokenVectors, difference, similarity_sums, unit
from bathyscope.explanations.scores.purity import purity_sums, share
from bathyscope.explanations.scores.windows import ScoringWindows
from bathyscope.explanations.scores.word_classifier import LEVELS, areas, histograms, levels_of
from bathyscope.features.draws import random_bits
from bathyscope.features.tokens import TokenTable
from bathyscope.models.model import Model

BY_FEATURE = "by_feature.parquet"
SHUFFLED, RANDOM = "words of another feature", "words of a random direction"
AUC, DELTA, PURITY = "word classifier AUC", "example embedding Δ", "single-token purity"
CHOOSING, REPORTING = "first half of features", "second half of features"
SCORED, NOT_DRAWN, FEW_WINDOWS = "scored", "not drawn", "few windows"
"""What `by_feature.parquet` says of a feature, besides `few firings` and `silent`."""
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


DEFAULTS = WordScoreSettings()
"""The settings as they are."""


def score_words(
    explanations: Explanations,
    *,
    model: Model,
    dictionary: Dictionary,
    activations: ActivationStore,
    out: Path,
    settings: WordScoreSettings = DEFAULTS,
) -> list[Score]:
    """Score rows of every method, also written to `out`.

    Raises ConfigError when a document that words were read off would be scored on, or when too few features fire.
    """
    require_same_model(model, dictionary, activations)
    if explanations.manifest.config["dictionary"] != dictionary.digest:
        raise ConfigError(f"{explanations.path} explains another dictionary; give the one that it was made with")
    recipe = Recipe(
        kind="scores",
        config={"settings": settings, "dictionary": dictionary.digest, "model": dict(model.identity)},
        seed=settings.seed,
        parents={"explanations": explanations.path, "activations": activations.path},
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            scoring = _open(explanations, model, dictionary, activations, settings, work=work)
            rows, table = _measure(scoring, explanations, activations, model)
            pq.write_table(table, work.path / BY_FEATURE, compression="zstd")
            write_scores(work.path, rows)
    return read_scores(out)


@dataclass(frozen=True, slots=True)
class _Scoring:
    """The scoring half, and the features that are scored on it."""

    settings: WordScoreSettings
    reading: Reading
    windows: ScoringWindows
    status: list[str]
    """Of every feature of the dictionary."""
    features: Int[np.ndarray, " F"]
    """Scored features, ascending."""
    is_reporting: np.ndarray
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


def _open(
    explanations: Explanations,
    model: Model,
    dictionary: Dictionary,
    store: ActivationStore,
    settings: WordScoreSettings,
    *,
    work: Draft,
) -> _Scoring:
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
    return _Scoring(settings, reading, windows, status, features, halves, np.stack(levels))


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


def _measure(
    scoring: _Scoring, explanations: Explanations, store: ActivationStore, model: Model
) -> tuple[list[Score], pa.Table]:
    """All rows: means over the features of each half, and every feature by itself."""
    sums = _word_sums(scoring, explanations)
    rows, by_feature = list[Score](), [_status_rows(scoring)]
    for half, name in ((~scoring.is_reporting, CHOOSING), (scoring.is_reporting, REPORTING)):
        rows += _auc_rows(scoring, sums, half, name)
        rows += _difference_rows(scoring, sums, half, name, default=explanations.default_method)
    for subject, own in sums.items():
        by_feature.append(_feature_rows(scoring, own, subject))
        progress.report("score: features", len(by_feature) - 1, len(sums), "methods")
    rows += _delta_rows(scoring, explanations, store, model) + _purity_rows(scoring, explanations)
    return rows, pa.concat_tables(by_feature)


def _word_sums(scoring: _Scoring, explanations: Explanations) -> dict[str, Float[np.ndarray, "G F 4 V"]]:
    """Subject → windows of each document by feature, level and number of words."""
    words = _words(explanations.table, scoring.features, explanations.methods)
    found = {method: _sums(scoring, own, method) for method, own in words.items()}
    default = words[explanations.default_method]
    found[SHUFFLED] = _sums(scoring, [default[i] for i in scoring.shuffled], explanations.default_method)
    n_random = int(explanations.random_words["feature"].to_numpy().max(initial=0)) + 1
    random = _words(explanations.random_words, np.arange(n_random), [MUTUAL_INFORMATION])[MUTUAL_INFORMATION]
    found[RANDOM] = _sums(scoring, [random[i % n_random] for i in range(len(scoring.features))], MUTUAL_INFORMATION)
    return found


def _words(table: pa.Table, features: Int[np.ndarray, " F"], methods: Sequence[str]) -> dict[str, list[list[str]]]:
    """Method → the words of each of the features, best first."""
    of_feature = table["feature"].to_numpy()
    table = table.filter(pa.array(np.isin(of_feature, features)))
    place = {int(feature): i for i, feature in enumerate(features)}
    found = {method: [list[str]() for _ in features] for method in methods}
    columns = (table[name].to_pylist() for name in ("feature", "method", "word"))
    for feature, method, word in zip(*columns, strict=True):
        found[method][place[feature]].append(word)
    return found


def _sums(scoring: _Scoring, words: Sequence[list[str]], method: str) -> Float[np.ndarray, "G F 4 V"]:
    windows, n = scoring.windows, scoring.settings.n_words
    per_feature = [
        histograms(windows.counts(own[:n], method), levels_W, windows.documents, n_words=n)
        for own, levels_W in zip(words, scoring.levels_FW, strict=True)
    ]
    return np.stack(per_feature, axis=1)


def _auc_rows(scoring: _Scoring, sums: Mapping[str, np.ndarray], half: np.ndarray, name: str) -> list[Score]:
    found = list[Score]()
    for subject, own in sums.items():
        for level, level_name in enumerate(LEVELS):
            interval = _interval(scoring, [own[:, half]], lambda auc, level=level: auc[0][..., level])
            metric = AUC if level_name == "all" else f"{AUC}, {level_name} third"
            found.append(score(subject, metric, interval, split=name))
    return found


def _difference_rows(
    scoring: _Scoring, sums: Mapping[str, np.ndarray], half: np.ndarray, name: str, *, default: str
) -> list[Score]:
    """The default method minus each other one, on the same resamples."""
    found = list[Score]()
    for subject, own in sums.items():
        if subject != default:
            both = [sums[default][:, half], own[:, half]]
            interval = _interval(scoring, both, lambda auc: auc[0][..., 0] - auc[1][..., 0])
            found.append(score(subject, f"{AUC}, {default} minus this", interval, split=name))
    return found


def _interval(
    scoring: _Scoring, sums: Sequence[np.ndarray], figure: Callable[[Sequence[np.ndarray]], np.ndarray]
) -> Interval:
    """Mean over features of a figure of their AUCs, with an interval over documents."""
    shape, flat = sums[0].shape[1:], [own.reshape(len(own), -1) for own in sums]

    def statistic(totals: np.ndarray) -> np.ndarray:
        parts = np.split(totals, len(flat), axis=-1)
        return np.nanmean(figure([areas(part.reshape(*part.shape[:-1], *shape)) for part in parts]), axis=-1)

    return bootstrap(
        np.concatenate(flat, axis=1), statistic, seed=scoring.settings.seed, n_resamples=scoring.settings.n_resamples
    )


def _feature_rows(scoring: _Scoring, sums: Float[np.ndarray, "G F 4 V"], subject: str) -> pa.Table:
    """AUC of every scored feature by one subject."""
    found = [_interval(scoring, [sums[:, i : i + 1]], lambda auc: auc[0][..., 0]) for i in range(sums.shape[1])]
    return _table(
        feature=scoring.features,
        status=[SCORED] * len(found),
        subject=[subject] * len(found),
        half=[REPORTING if flag else CHOOSING for flag in scoring.is_reporting],
        n_firing_windows=(scoring.levels_FW > 0).sum(1),
        auc=[each.value for each in found],
        low=[each.low for each in found],
        high=[each.high for each in found],
    )


def _status_rows(scoring: _Scoring) -> pa.Table:
    """One row for every feature that was not scored."""
    others = np.flatnonzero(np.array(scoring.status) != SCORED)
    blank = [None] * len(others)
    status = [scoring.status[i] for i in others]
    return _table(
        feature=others,
        status=status,
        subject=blank,
        half=blank,
        n_firing_windows=blank,
        auc=blank,
        low=blank,
        high=blank,
    )


def _table(**columns: Sequence[object] | np.ndarray) -> pa.Table:
    kinds = {"feature": pa.int32(), "n_firing_windows": pa.int64(), "auc": pa.float64()}
    kinds |= {"low": pa.float64(), "high": pa.float64()}
    return pa.table({name: pa.array(column, kinds.get(name, pa.string())) for name, column in columns.items()})


def _delta_rows(scoring: _Scoring, explanations: Explanations, store: ActivationStore, model: Model) -> list[Score]:
    """Example embedding of the features of the second half, and of other features' examples."""
    vectors, windows, corpus = TokenVectors(model, np.asarray(store.tokens)), scoring.windows, scoring.reading.corpus
    windows_WD = vectors.windows(corpus.tokens, corpus.tile_starts[windows.tiles], corpus.tile_stops[windows.tiles])
    queries_FD = _queries(scoring, explanations, store, vectors)
    found = list[Score]()
    for subject, place in (("examples", np.arange(len(queries_FD))), ("examples of another feature", scoring.shuffled)):
        sums = [
            similarity_sums(queries_FD[place[i]], windows_WD, scoring.levels_FW[i] > 0, windows.documents)
            for i in np.flatnonzero(scoring.is_reporting)
        ]
        found.append(score(subject, DELTA, _mean(scoring, np.stack(sums, axis=1), difference), split=REPORTING))
    return found


def _queries(
    scoring: _Scoring, explanations: Explanations, store: ActivationStore, vectors: TokenVectors
) -> Float[np.ndarray, "F D"]:
    """The mean vector of each scored feature's top explaining windows."""
    tokens, documents = np.asarray(store.tokens), np.asarray(store.documents)
    begins = np.flatnonzero(np.diff(documents, prepend=-1))
    begin = dict(zip(documents[begins].tolist(), begins.tolist(), strict=True))
    evidence, found = explanations.evidence.take(pa.array(scoring.features)), list[np.ndarray]()
    columns = (evidence[name].to_pylist() for name in ("window_documents", "window_offsets", "window_lengths"))
    for own, offsets, lengths in zip(*columns, strict=True):
        starts = np.array([begin[document] for document in own], dtype=np.int64) + np.array(offsets, dtype=np.int64)
        found.append(vectors.windows(tokens, starts, starts + np.array(lengths, dtype=np.int64)).mean(0))
    return unit(np.stack(found))


def _purity_rows(scoring: _Scoring, explanations: Explanations) -> list[Score]:
    """Purity of the features of the second half, at their own top token and at another feature's."""
    reading, top = scoring.reading, explanations.evidence["top_token"].to_numpy()[scoring.features]
    tokens, documents = reading.corpus.tokens[reading.corpus.row_tokens], reading.corpus.row_documents
    n, found = len(reading.corpus.document_rows), list[Score]()
    for subject, place in (("top token", np.arange(len(top))), ("top token of another feature", scoring.shuffled)):
        sums = list[np.ndarray]()
        for i in np.flatnonzero(scoring.is_reporting).tolist():
            block = reading.postings.block(int(scoring.features[i]), int(scoring.features[i]) + 1)
            own = (tokens[block.rows], block.values.astype(np.float64), documents[block.rows])
            sums.append(purity_sums(*own, int(top[place[i]]), n_documents=n))
        found.append(score(subject, PURITY, _mean(scoring, np.stack(sums, axis=1), share), split=REPORTING))
    return found


def _mean(scoring: _Scoring, sums: Float[np.ndarray, "G F M"], figure: Callable[[np.ndarray], np.ndarray]) -> Interval:
    """Mean over features of a figure of their sums, with an interval over documents."""

    def statistic(totals: np.ndarray) -> np.ndarray:
        return np.nanmean(figure(totals.reshape(*totals.shape[:-1], *sums.shape[1:])), axis=-1)

    resamples = {"seed": scoring.settings.seed, "n_resamples": scoring.settings.n_resamples}
    return bootstrap(sums.reshape(len(sums), -1), statistic, **resamples)
