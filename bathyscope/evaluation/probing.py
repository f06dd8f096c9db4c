"""Sparse probing: does a label of a text show in one, two or five features of a dictionary?

Each text becomes the mean of its tokens' codes. On the training half the k features whose class means differ most are
chosen and a logistic regression is fitted to them; the other half says how often it is right. The same is done with k
channels of the activation, all channels, the words alone, random dictionaries and shuffled labels: a dictionary that
does not beat those has not shown that its features carry labelled concepts (arXiv 2503.09532, 2502.16681).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.labelled import LabelledSet, Task, draw_task, records_of
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.place import common_hookpoint
from bathyscope.evaluation.pooling import pool, text_rows, token_activations
from bathyscope.evaluation.probe_table import CHANNELS, RANDOM, SHUFFLED, means, task_scores
from bathyscope.evaluation.scores import Score, read_scores, write_scores
from bathyscope.evaluation.tasks import DEFAULT_TASKS, open_task
from bathyscope.models.model import Model

PROBES = "probes.jsonl"
NULL_TEXTS = 16
"""Training texts of each task on which random dictionaries are centred and scaled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How much text is probed, and with how many features."""

    n_texts: int = 600
    """Texts of each task, half of each label, half of them for choosing and half for reporting."""
    k: tuple[int, ...] = (1, 2, 5)
    """Numbers of features (or channels) that a probe may read."""
    context: int = 128
    """Tokens of a text that are read, BOS included."""
    tokens_per_batch: int = 2048
    """Tokens of one forward pass, padding included."""
    sink_multiple: float = 10.0
    """Leave out tokens whose norm is above this multiple of the median, as collected activations do; 0 keeps them."""
    n_shuffles: int = 20
    """Random orders of the training labels for the null."""
    seed: int = 0
    """Seed of the choice of texts, the halves, the random dictionaries, the shuffles and the bootstrap."""

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1 or len(set(self.k)) < len(self.k):
            raise ConfigError(f"k is {self.k}, expected different numbers of at least 1")
        if min(self.n_shuffles, self.tokens_per_batch) < 1:
            raise ConfigError("n_shuffles and tokens_per_batch must be at least 1")


def probe(
    model: Model,
    dictionaries: Mapping[str, Dictionary],
    *,
    out: str | Path,
    tasks: Sequence[str | LabelledSet] = DEFAULT_TASKS,
    hookpoint: str | None = None,
    parents: Mapping[str, Path] | None = None,
    settings: ProbeSettings = ProbeSettings(),
) -> list[Score]:
    """Score rows of every dictionary and every baseline on every task, also in the folder `out` (kind `scores`).

    The model runs once over the texts for all dictionaries together, up to `hookpoint` (theirs unless given; it must
    be given when there is none). `probes.jsonl` beside the scores says which features were chosen. An interrupted run
    resumes after the last finished task. Raises ConfigError for dictionaries of different hookpoints or of another
    model, and for sets with too few texts.
    """
    out = Path(out)
    require_science("sparse probing")
    _check_names(dictionaries)
    hookpoint = common_hookpoint(model, dictionaries, hookpoint, purpose="sparse probing")
    labelled = [open_task(task) if isinstance(task, str) else task for task in tasks]
    if not labelled or len({each.name for each in labelled}) < len(labelled):
        raise ConfigError("give at least one labelled set, and none twice")
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "sparse probing",
            "model": dict(model.identity),
            "hookpoint": hookpoint,
            "dictionaries": {name: each.digest for name, each in dictionaries.items()},
            "tasks": {each.name: each.digest for each in labelled},
            "settings": settings,
        },
        seed=settings.seed,
        parents=parents or {},
        materials=records_of(model.materials, labelled),
    )
    if not artifacts.is_finished(out, recipe):
        drawn = [draw_task(each, n_texts=settings.n_texts, seed=settings.seed) for each in labelled]
        with artifacts.draft(out, recipe) as work:
            _probe(_Job(model, hookpoint, dict(dictionaries), settings), drawn, work)
    return read_scores(out)


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call was asked for."""

    model: Model
    hookpoint: str
    dictionaries: dict[str, Dictionary]
    settings: ProbeSettings

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        return text_rows(self.model, texts, context=self.settings.context)


def _probe(job: _Job, tasks: list[Task], work: Draft) -> None:
    """Pool and score task after task, each checkpointed, and write the tables."""
    state: dict[str, Any] = work.state() or {"done": 0, "rows": [], "probes": []}
    subjects = job.dictionaries | _random_dictionaries(job, tasks)
    token_rows = [job.rows(task.texts) for task in tasks]
    total = sum(map(len, token_rows))
    done = sum(map(len, token_rows[: state["done"]]))
    for number in range(state["done"], len(tasks)):
        pooled = pool(
            job.model,
            job.hookpoint,
            token_rows[number],
            subjects,
            tokens_per_batch=job.settings.tokens_per_batch,
            sink_multiple=job.settings.sink_multiple,
            after_batch=lambda n, before=done: progress.report("probe", before + n, total, "texts"),
        )
        rows, probes = task_scores(
            tasks[number], pooled, ks=job.settings.k, n_shuffles=job.settings.n_shuffles, seed=job.settings.seed
        )
        done += len(token_rows[number])
        state["rows"] += [asdict(row) for row in rows]
        state["probes"] += probes
        state["done"] = number + 1
        work.checkpoint(state)
    scores = [Score(**row) for row in state["rows"]]
    write_scores(work.path, [*scores, *means(scores, seed=job.settings.seed)])
    lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in state["probes"])
    artifacts.write_atomic(work.path / PROBES, lines.encode())


def _random_dictionaries(job: _Job, tasks: list[Task]) -> dict[str, Dictionary]:
    """One random dictionary for each size, as sparse as the dictionaries of that size are in the middle."""
    sizes: dict[int, list[Dictionary]] = {}
    for each in job.dictionaries.values():
        sizes.setdefault(each.n_features, []).append(each)
    if not sizes:
        return {}
    texts = [text for task in tasks for text in np.array(task.texts)[task.is_train_T][:NULL_TEXTS].tolist()]
    x_ND = token_activations(
        job.model,
        job.hookpoint,
        job.rows(texts),
        tokens_per_batch=job.settings.tokens_per_batch,
        sink_multiple=job.settings.sink_multiple,
    )
    found: dict[str, Dictionary] = {}
    for n_features, alike in sizes.items():
        k = max(1, round(float(np.median([each.encode(x_ND).l0() for each in alike]))))
        name = RANDOM if len(sizes) == 1 else f"{RANDOM} of {n_features}"
        found[name] = random_dictionary(alike[0], x_ND, k=k, seed=job.settings.seed)
    return found


def _check_names(dictionaries: Mapping[str, Dictionary]) -> None:
    for name in dictionaries:
        if name.startswith((CHANNELS, RANDOM)) or SHUFFLED in name:
            raise ConfigError(f"a dictionary is named {name!r}, which is the name of a baseline; give another name")
