"""The rows of sparse probing: every dictionary beside every baseline, task by task, and the means over tasks.

Subjects: a dictionary or `residual channels` at each k, `residual probe` (all channels), `difference of means`,
`bag of words`, and the same procedures after training on shuffled labels. Knows nothing of models or files.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.evaluation.intervals import bootstrap
from bathyscope.evaluation.labelled import Task, shuffled_labels
from bathyscope.evaluation.pooling import Pooled
from bathyscope.evaluation.probes import (
    Probe,
    auroc,
    best_penalty,
    dense_probe,
    difference_of_means,
    mean_over_groups,
    right_answers,
    sparse_probe,
    word_scores,
)
from bathyscope.evaluation.scores import Score, score

CHANNELS, RANDOM, SHUFFLED = "residual channels", "random dictionary", "shuffled labels"


def task_scores(
    task: Task, pooled: Pooled, *, ks: tuple[int, ...], n_shuffles: int, seed: int
) -> tuple[list[Score], list[dict[str, Any]]]:
    """Accuracy and AUROC of every subject on the reporting half of `task`, and the probes on chosen features."""
    rows: list[Score] = []
    chosen: list[dict[str, Any]] = []
    train_T = task.is_train_T
    labels_T = task.labels_T[train_T]
    sparse: Mapping[str, Tensor] = {CHANNELS: pooled.residual_TD, **pooled.codes}
    for name, inputs in sparse.items():
        x_TD = inputs.numpy()
        train_TD = x_TD[train_T].astype(np.float64)
        for k in ks:
            fitted = sparse_probe(train_TD, labels_T, k=k)
            subject = f"{name} · k={k}"
            rows += _figures(subject, task, fitted.scores(x_TD), seed)
            if name in pooled.codes:
                chosen.append({"task": task.name, "subject": subject, **_chosen(fitted)})
        fit = partial(sparse_probe, train_TD, k=max(ks))
        rows.append(_shuffled(f"{name}, {SHUFFLED} · k={max(ks)}", task, x_TD, fit, n_shuffles=n_shuffles, seed=seed))
    x_TD = pooled.residual_TD.numpy()
    fit = partial(dense_probe, x_TD[train_T], penalty=best_penalty(x_TD[train_T], labels_T, task.groups_T[train_T]))
    rows += _figures("residual probe", task, fit(labels_T).scores(x_TD), seed)
    rows.append(_shuffled(f"residual probe, {SHUFFLED}", task, x_TD, fit, n_shuffles=n_shuffles, seed=seed))
    middle = difference_of_means(x_TD[train_T], labels_T)
    rows += _figures("difference of means", task, middle.scores(x_TD), seed)
    words_T = word_scores(task.texts, task.labels_T, task.groups_T, train_T)
    return rows + _figures("bag of words", task, words_T, seed), chosen


def _figures(subject: str, task: Task, scores_T: Float[np.ndarray, " T"], seed: int) -> list[Score]:
    report_T = ~task.is_train_T
    scores_T, labels_T, groups_T = scores_T[report_T], task.labels_T[report_T], task.groups_T[report_T]
    right = mean_over_groups(right_answers(scores_T, labels_T), groups_T, seed=seed)
    area = auroc(scores_T, labels_T, groups_T, seed=seed)
    return [
        score(subject, f"accuracy · {task.name}", right, unit="groups"),
        score(subject, f"AUROC · {task.name}", area, unit="groups"),
    ]


def _shuffled(
    subject: str,
    task: Task,
    x_TD: Float[np.ndarray, "T D"],
    fit: Callable[[Bool[np.ndarray, " T"]], Probe],
    *,
    n_shuffles: int,
    seed: int,
) -> Score:
    """Accuracy after training on labels in a random order: the mean of several orders, which are the units.

    One strong direction in the texts makes a single order fall far from a half, on either side.
    """
    report_T = ~task.is_train_T
    accuracies: list[float] = []
    for i in range(n_shuffles):
        labels_T = shuffled_labels(task.labels_T[task.is_train_T], seed=seed + 1 + i)
        scores_T = fit(labels_T).scores(x_TD[report_T])
        accuracies.append(float(right_answers(scores_T, task.labels_T[report_T]).mean()))
    return _mean(subject, f"accuracy · {task.name}", accuracies, seed, unit="orders")


def _chosen(fitted: Probe) -> dict[str, Any]:
    return {"features": fitted.columns.tolist(), "weights": fitted.weights.tolist(), "bias": fitted.bias}


def means(scores: list[Score], *, seed: int) -> Iterator[Score]:
    """Means over tasks; for what reads k columns also the mean gain over k channels of the activation, paired."""
    tables: dict[tuple[str, str], dict[str, float]] = {}
    for row in scores:
        figure, _, task = row.metric.partition(" · ")
        tables.setdefault((row.subject, figure), {})[task] = row.value
    for (subject, figure), values in tables.items():
        yield _mean(subject, f"{figure} · mean of tasks", list(values.values()), seed)
        channels = tables.get((f"{CHANNELS} · {subject.rpartition(' · ')[2]}", figure))
        if channels is not None and SHUFFLED not in subject and not subject.startswith(CHANNELS):
            gains = [value - channels[task] for task, value in values.items()]
            yield _mean(subject, f"{figure} gain over channels · mean of tasks", gains, seed)


def _mean(subject: str, metric: str, values: list[float], seed: int, *, unit: str = "tasks") -> Score:
    sums_G2 = np.array([[value, 1.0] for value in values])
    return score(subject, metric, bootstrap(sums_G2, lambda t: t[..., 0] / t[..., 1], seed=seed), unit=unit)
