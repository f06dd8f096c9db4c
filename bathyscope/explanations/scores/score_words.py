"""`score_words`: how well the words of every method predict firing on the scoring half, beside what words by chance do.

Features are cut into two halves: a method may be chosen on the first, and is reported on the second. Intervals come
from resampling documents, the same for every feature and method of a report. A folder of kind `scores`: `scores.jsonl`
(means over features) and `by_feature.parquet`, which also says of every feature that was not scored why not.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from bathyscope import artifacts, progress
from bathyscope.activations.match import require_same_model
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.explanations.methods import MUTUAL_INFORMATION
from bathyscope.explanations.reader import Explanations
from bathyscope.explanations.scores.example_embedding import TokenVectors, difference, similarity_sums, unit
from bathyscope.explanations.scores.half import SCORED, ScoringHalf, WordScoreSettings, open_half
from bathyscope.explanations.scores.means import Figure, mean_over_features
from bathyscope.explanations.scores.purity import purity_sums, share
from bathyscope.explanations.scores.word_classifier import LEVELS, areas, histograms
from bathyscope.models.model import Model

BY_FEATURE = "by_feature.parquet"
SHUFFLED, RANDOM = "words of another feature", "words of a random direction"
AUC, DELTA, PURITY = "word classifier AUC", "example embedding Δ", "single-token purity"
CHOOSING, REPORTING = "first half of features", "second half of features"
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
            scoring = open_half(explanations, model, dictionary, activations, settings, work=work)
            rows, table = _measure(scoring, explanations, activations, model)
            pq.write_table(table, work.path / BY_FEATURE, compression="zstd")
            write_scores(work.path, rows)
    return read_scores(out)


def _measure(
    scoring: ScoringHalf, explanations: Explanations, store: ActivationStore, model: Model
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


def _word_sums(scoring: ScoringHalf, explanations: Explanations) -> dict[str, Float[np.ndarray, "G F 4 V"]]:
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


def _sums(scoring: ScoringHalf, words: Sequence[list[str]], method: str) -> Float[np.ndarray, "G F 4 V"]:
    windows, n = scoring.windows, scoring.settings.n_words
    per_feature = [
        histograms(windows.counts(own[:n], method), levels_W, windows.documents, n_words=n)
        for own, levels_W in zip(words, scoring.levels_FW, strict=True)
    ]
    return np.stack(per_feature, axis=1)


def _auc_rows(scoring: ScoringHalf, sums: Mapping[str, np.ndarray], half: np.ndarray, name: str) -> list[Score]:
    found = list[Score]()
    for subject, own in sums.items():
        for level, level_name in enumerate(LEVELS):
            interval = _mean(scoring, [own[:, half]], functools.partial(_area, level=level))
            metric = AUC if level_name == "all" else f"{AUC}, {level_name} third"
            if np.isfinite(interval.value):
                found.append(score(subject, metric, interval, split=name))
    return found


def _difference_rows(
    scoring: ScoringHalf, sums: Mapping[str, np.ndarray], half: np.ndarray, name: str, *, default: str
) -> list[Score]:
    """The default method minus each other one, on the same resamples."""
    found = list[Score]()
    for subject, own in sums.items():
        if subject != default:
            interval = _mean(scoring, [sums[default][:, half], own[:, half]], _area_gained)
            found.append(score(subject, f"{AUC}, {default} minus this", interval, split=name))
    return found


def _area(totals: Sequence[np.ndarray], *, level: int = 0) -> np.ndarray:
    return areas(totals[0])[..., level]


def _area_gained(totals: Sequence[np.ndarray]) -> np.ndarray:
    return areas(totals[0])[..., 0] - areas(totals[1])[..., 0]


def _delta(totals: Sequence[np.ndarray]) -> np.ndarray:
    return difference(totals[0])


def _purity(totals: Sequence[np.ndarray]) -> np.ndarray:
    return share(totals[0])


def _feature_rows(scoring: ScoringHalf, sums: Float[np.ndarray, "G F 4 V"], subject: str) -> pa.Table:
    """AUC of every scored feature by one subject."""
    found = [_mean(scoring, [sums[:, i : i + 1]], _area) for i in range(sums.shape[1])]
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


def _status_rows(scoring: ScoringHalf) -> pa.Table:
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


def _delta_rows(scoring: ScoringHalf, explanations: Explanations, store: ActivationStore, model: Model) -> list[Score]:
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
        found.append(score(subject, DELTA, _mean(scoring, [np.stack(sums, axis=1)], _delta), split=REPORTING))
    return found


def _queries(
    scoring: ScoringHalf, explanations: Explanations, store: ActivationStore, vectors: TokenVectors
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


def _purity_rows(scoring: ScoringHalf, explanations: Explanations) -> list[Score]:
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
        found.append(score(subject, PURITY, _mean(scoring, [np.stack(sums, axis=1)], _purity), split=REPORTING))
    return found


def _mean(scoring: ScoringHalf, sums: Sequence[np.ndarray], figure: Figure) -> Interval:
    return mean_over_features(sums, figure, seed=scoring.settings.seed, n_resamples=scoring.settings.n_resamples)
