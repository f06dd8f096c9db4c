"""Which features carry a concept: found by contrast on one half of its texts, with evidence from the other half.

A concept is a labelled set: texts that have it and texts that do not, as like as possible otherwise. On the choosing
half, features are ranked by the AUROC of their mean code; on the reporting half each found feature gets

    AUROC          its mean code as a score for the concept
    recall         share of texts with the concept on which it fires at all (sensitivity)
    false alarm    share of texts without it on which it fires
    above t        both again for a mean code above t, the threshold that tells the choosing half best

with intervals over groups of texts. Beside them: features drawn at random, the best feature for shuffled labels, random
directions of the activation, the words alone, and a sparse probe on all found features together.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.signs import require_positive_codes
from bathyscope.errors import ConfigError
from bathyscope.evaluation.concept_table import ConceptFeature, concept_table
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.intervals import Interval, over_runs
from bathyscope.evaluation.labelled import LabelledSet, Task, draw_task, records_of, shuffled_labels
from bathyscope.evaluation.place import common_hookpoint
from bathyscope.evaluation.pooling import Pooled, pool, text_rows
from bathyscope.evaluation.probes import auroc, best_threshold, column_probe, mean_over_groups, word_scores
from bathyscope.evaluation.scores import Score, score, write_scores
from bathyscope.models.model import Model

FEATURES, TABLE = "features.jsonl", "table.md"
NAME = "dictionary"
NULL_QUANTILE = 0.975
"""A feature beats a null when its AUROC is above this quantile of the null on the same texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptSettings:
    """How much is read, how many features are found, and how large the nulls are."""

    n_texts: int = 400
    """Most texts of a concept, half of them without it, half of them for choosing."""
    n_features: int = 5
    """Features found for each concept."""
    min_firing: int = 3
    """Fewest texts of the choosing half on which a found feature fires."""
    n_random: int = 200
    """Random features, and random directions, for the nulls."""
    n_shuffles: int = 20
    """Random orders of the choosing labels."""
    context: int = 128
    """Tokens of a text that are read, BOS included."""
    tokens_per_batch: int = 2048
    """Tokens of one forward pass, padding included."""
    sink_multiple: float = 10.0
    """Leave out tokens whose norm is above this multiple of the median, as collected activations do; 0 keeps them."""
    seed: int = 0
    """Seed of halves, draws, shuffles and the bootstrap."""

    def __post_init__(self) -> None:
        if min(self.n_features, self.min_firing, self.n_random, self.n_shuffles, self.tokens_per_batch) < 1:
            raise ConfigError("n_features, min_firing, n_random, n_shuffles and tokens_per_batch must be at least 1")


def find_concepts(
    model: Model,
    dictionary: Dictionary,
    sets: Sequence[LabelledSet],
    *,
    out: str | Path,
    brought: Mapping[str, Mapping[int, str]] | None = None,
    parents: Mapping[str, Path] | None = None,
    settings: ConceptSettings = ConceptSettings(),
) -> list[ConceptFeature]:
    """The features of every concept with their evidence, also in the folder `out` (kind `scores`).

    `brought`: concept → feature → where it comes from: features that get evidence, too, whether or not contrast finds
    them. `scores.jsonl` holds the baselines and nulls, `table.md` all of it to read. An interrupted run resumes after
    the last finished concept. Raises ConfigError for unknown features and for sets with too few texts.
    """
    out, brought = Path(out), brought or {}
    require_science("finding the features of a concept")
    dictionary.require_selection("finding the features of a concept")
    require_positive_codes(dictionary, "finding the features of a concept")
    hookpoint = common_hookpoint(model, {NAME: dictionary}, None, purpose="finding the features of a concept")
    _check(dictionary, sets, brought)
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "features of concepts",
            "model": dict(model.identity),
            "hookpoint": hookpoint,
            "dictionary": dictionary.digest,
            "sets": {each.name: each.digest for each in sets},
            "brought": {name: {str(f): source for f, source in found.items()} for name, found in brought.items()},
            "settings": settings,
        },
        seed=settings.seed,
        parents=parents or {},
        materials=records_of(model.materials, sets),
    )
    if not artifacts.is_finished(out, recipe):
        tasks = [draw_task(each, n_texts=settings.n_texts, seed=settings.seed) for each in sets]
        with artifacts.draft(out, recipe) as work:
            state: dict[str, Any] = work.state() or {"done": 0, "features": [], "rows": []}
            for number in range(state["done"], len(tasks)):
                task = tasks[number]
                pooled = pool(
                    model,
                    hookpoint,
                    text_rows(model, task.texts, context=settings.context),
                    {NAME: dictionary},
                    tokens_per_batch=settings.tokens_per_batch,
                    sink_multiple=settings.sink_multiple,
                )
                features, rows = concept_evidence(task, pooled, brought.get(task.name, {}), settings)
                state["features"] += [asdict(feature) for feature in features]
                state["rows"] += [asdict(row) for row in rows]
                state["done"] = number + 1
                work.checkpoint(state)
                progress.report("concepts", number + 1, len(tasks), "concepts")
            rows = [Score(**row) for row in state["rows"]]
            found = [ConceptFeature(**row) for row in state["features"]]
            write_scores(work.path, rows)
            lines = "".join(json.dumps(row, sort_keys=True) + "\n" for row in state["features"])
            artifacts.write_atomic(work.path / FEATURES, lines.encode())
            questions = {task.name: task.question for task in tasks}
            artifacts.write_atomic(work.path / TABLE, concept_table(questions, found, rows).encode())
    return read_concepts(out)


def read_concepts(path: Path) -> list[ConceptFeature]:
    """The found features of a finished folder. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind="scores")
    text = artifacts.check_file(path, manifest, FEATURES).read_text()
    return [ConceptFeature(**json.loads(line)) for line in text.splitlines() if line]


def concept_evidence(
    task: Task, pooled: Pooled, brought: Mapping[int, str], settings: ConceptSettings
) -> tuple[list[ConceptFeature], list[Score]]:
    """The features of one concept with their evidence, and the rows of baselines and nulls."""
    codes_TF, train_T = pooled.codes[NAME].numpy(), task.is_train_T
    choosing = column_aurocs(codes_TF[train_T], task.labels_T[train_T])
    fires_F = (codes_TF[train_T] > 0).sum(0)
    usable = np.flatnonzero(fires_F >= settings.min_firing)
    by_contrast = _best(choosing, usable, settings.n_features)
    sources = dict.fromkeys(by_contrast, "contrast")
    for feature, source in brought.items():
        sources[feature] = f"{sources[feature]}, {source}" if feature in sources else source
    nulls = _nulls(task, pooled, choosing, np.setdiff1d(usable, list(sources)), settings)
    bar = max((null.quantile for null in nulls.values()), default=0.5)
    features = [
        _evidence(task, codes_TF[:, feature], feature, source, bar, seed=settings.seed)
        for feature, source in sources.items()
    ]
    rows = [_null_row(name, task, null) for name, null in nulls.items()]
    words_T = word_scores(task.texts, task.labels_T, task.groups_T, train_T)
    rows.append(_auroc_row("bag of words", task, words_T, settings.seed))
    if by_contrast:
        together = column_probe(codes_TF[train_T], task.labels_T[train_T], np.array(by_contrast), penalty=1.0).scores(
            codes_TF
        )
        rows.append(_auroc_row(f"sparse probe · k={len(by_contrast)}", task, together, settings.seed))
    return features, rows


def column_aurocs(x_TF: Float[np.ndarray, "T F"], labels_T: Bool[np.ndarray, " T"]) -> Float[np.ndarray, " F"]:
    """P(a true text has the larger value) of every column, ties counting half; 0.5 for a column that never changes."""
    from scipy.stats import rankdata

    n_true = int(labels_T.sum())
    ranks_TF = rankdata(x_TF, axis=0)
    below = ranks_TF[labels_T].sum(0) - n_true * (n_true + 1) / 2
    return below / (n_true * (len(labels_T) - n_true))


@dataclass(frozen=True, slots=True)
class _Null:
    """AUROCs of things that carry nothing of the concept but by chance."""

    aurocs: Float[np.ndarray, " R"]

    @property
    def quantile(self) -> float:
        return float(np.quantile(self.aurocs, NULL_QUANTILE)) if len(self.aurocs) else 0.5


def _nulls(
    task: Task,
    pooled: Pooled,
    choosing_F: Float[np.ndarray, " F"],
    others: Int[np.ndarray, " U"],
    settings: ConceptSettings,
) -> dict[str, _Null]:
    """Each null on the reporting half; what has a sign is turned to the concept on the choosing half first.

    `others` are the features that nobody has called the concept's.
    """
    train_T, codes_TF = task.is_train_T, pooled.codes[NAME].numpy()
    report_labels = task.labels_T[~train_T]
    generator = np.random.default_rng(settings.seed)
    drawn = generator.permutation(others)[: settings.n_random]
    of_features = column_aurocs(codes_TF[~train_T][:, drawn], report_labels)
    of_features = np.where(choosing_F[drawn] < 0.5, 1 - of_features, of_features)
    directions = torch.randn(
        pooled.residual_TD.shape[1], settings.n_random, generator=torch.Generator().manual_seed(settings.seed)
    )
    along_TR = (pooled.residual_TD @ directions).numpy()
    turned = column_aurocs(along_TR[train_T], task.labels_T[train_T]) < 0.5
    of_directions = column_aurocs(along_TR[~train_T], report_labels)
    of_directions = np.where(turned, 1 - of_directions, of_directions)
    of_shuffles: list[float] = []
    for i in range(settings.n_shuffles if len(others) else 0):
        labels = shuffled_labels(task.labels_T[train_T], seed=settings.seed + 1 + i)
        (best,) = _best(column_aurocs(codes_TF[train_T], labels), others, 1)
        of_shuffles.append(float(column_aurocs(codes_TF[~train_T][:, [best]], report_labels)[0]))
    return {
        "random features": _Null(of_features),
        "random directions": _Null(of_directions),
        "best feature for shuffled labels": _Null(np.array(of_shuffles)),
    }


def _best(aurocs_F: Float[np.ndarray, " F"], usable: Int[np.ndarray, " U"], n: int) -> list[int]:
    """The `n` usable features of highest AUROC, ties by the lower number."""
    return usable[np.argsort(-aurocs_F[usable], kind="stable")[:n]].tolist()


def _evidence(
    task: Task, values_T: Float[np.ndarray, " T"], feature: int, source: str, bar: float, *, seed: int
) -> ConceptFeature:
    report_T = ~task.is_train_T
    threshold = best_threshold(values_T[~report_T], task.labels_T[~report_T])
    values_T, labels_T, groups_T = values_T[report_T], task.labels_T[report_T], task.groups_T[report_T]
    area = auroc(values_T, labels_T, groups_T, seed=seed)
    fires_T = (values_T > 0).astype(np.float64)
    recall = mean_over_groups(fires_T[labels_T], groups_T[labels_T], seed=seed)
    alarm = mean_over_groups(fires_T[~labels_T], groups_T[~labels_T], seed=seed)
    above_T = (values_T > (np.inf if threshold is None else threshold)).astype(np.float64)
    recall_above = mean_over_groups(above_T[labels_T], groups_T[labels_T], seed=seed)
    alarm_above = mean_over_groups(above_T[~labels_T], groups_T[~labels_T], seed=seed)
    return ConceptFeature(
        concept=task.name,
        feature=int(feature),
        found_by=source,
        auroc=area.value,
        auroc_low=area.low,
        auroc_high=area.high,
        recall=recall.value,
        recall_low=recall.low,
        recall_high=recall.high,
        false_alarm=alarm.value,
        false_alarm_low=alarm.low,
        false_alarm_high=alarm.high,
        threshold=threshold,
        recall_above=recall_above.value,
        recall_above_low=recall_above.low,
        recall_above_high=recall_above.high,
        false_alarm_above=alarm_above.value,
        false_alarm_above_low=alarm_above.low,
        false_alarm_above_high=alarm_above.high,
        null=bar,
        beats_null=area.value > bar and area.low > 0.5,
    )


def _auroc_row(subject: str, task: Task, scores_T: Float[np.ndarray, " T"], seed: int) -> Score:
    report_T = ~task.is_train_T
    area = auroc(scores_T[report_T], task.labels_T[report_T], task.groups_T[report_T], seed=seed)
    return score(subject, f"AUROC · {task.name}", area, unit="groups", split="reporting half")


def _null_row(subject: str, task: Task, null: _Null) -> Score:
    """The mean of the null, with the range that 95 % of it fall into."""
    interval = (
        over_runs([0.5])
        if not len(null.aurocs)
        else Interval(
            value=float(null.aurocs.mean()),
            low=float(np.quantile(null.aurocs, 1 - NULL_QUANTILE)),
            high=null.quantile,
            n=len(null.aurocs),
        )
    )
    return score(subject, f"AUROC · {task.name}", interval, unit="draws", split="reporting half")


def _check(dictionary: Dictionary, sets: Sequence[LabelledSet], brought: Mapping[str, Mapping[int, str]]) -> None:
    names = [each.name for each in sets]
    if not names or len(set(names)) < len(names):
        raise ConfigError("give at least one concept, and none twice")
    unknown = sorted(set(brought) - set(names))
    if unknown:
        raise ConfigError(f"features were brought for {unknown[0]!r}, which is none of: {', '.join(names)}")
    wrong = [f for features in brought.values() for f in features if not 0 <= f < dictionary.n_features]
    if wrong:
        raise ConfigError(f"feature {wrong[0]} does not exist: give numbers from 0 to {dictionary.n_features - 1}")
