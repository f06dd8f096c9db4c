"""The bench of detection: how well every kind of direction tells texts with a concept from texts without it.

Directions are learnt from one half of each labelled set (`vectors`) and measured on the other, beside the words alone,
random directions, a random dictionary and labels that say nothing. A detector that only reaches the words may have
found words. Rows of a finished set are kept at once, vectors in folders of their own: an interrupted bench goes on.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ConfigError
from bathyscope.evaluation.detection_sets import DETECTION_SETS, open_sets
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.labelled import LabelledSet, draw_task, records_of
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.place import common_hookpoint
from bathyscope.evaluation.probes import best_threshold, mean_over_groups, word_scores
from bathyscope.evaluation.scores import Score, from_row, read_scores, score, to_row, write_scores
from bathyscope.files import write_atomic
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.studies.detection_table import ABOVE, AREA, GAIN, MEAN, SetFacts, detection_table
from bathyscope.studies.methods import BY_AUROC, DENOISED, FROM_LABELS, REFT, SHIFTS
from bathyscope.vectors.columns import text_codes
from bathyscope.vectors.contrast import Contrast, Halved, ReadSettings, contrast_of_texts
from bathyscope.vectors.decoder_row import DecoderRow
from bathyscope.vectors.denoised import DenoisedDiffMean
from bathyscope.vectors.detection import RANDOM, SHUFFLED, VECTOR, detected, random_rows
from bathyscope.vectors.kinds import Method
from bathyscope.vectors.learn import VectorSettings, learn_vector
from bathyscope.vectors.reft import ReFTr1
from bathyscope.vectors.shift_column import ShiftColumn

WORDS, RANDOM_BEST = "bag of words", "best feature of a random dictionary"
BY_CODE = {BY_AUROC: f"{BY_AUROC}, its code", RANDOM_BEST: f"{RANDOM_BEST}, its code"}
"""A feature as a direction → the same feature as a detector of its own: the mean of its codes."""
MEANS, PROBE = "difference of means", "logistic probe"
SHUFFLED_TOO = (MEANS, PROBE)
"""Ways that are taught labels in a random order as well: labels decide where they point, and they are quick. The first
component and LAT take no more than their sign from labels: their null is a random direction."""
NULLS = frozenset({RANDOM, RANDOM_BEST, BY_CODE[RANDOM_BEST], *(f"{name}, {SHUFFLED}" for name in SHUFFLED_TOO)})
"""Subjects that carry nothing of a concept but by chance."""
QUICK_SETS, QUICK_TEXTS = 3, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionBench:
    """Settings of `bench_detection`."""

    quick: bool = False
    """The first three sets, 80 texts of each at most, instead of all."""
    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    hookpoint: str = "layers.15"
    """Where texts are read."""
    dictionary: Path | None = Path("runs/demo/dictionary")
    """Folder of kind `dictionary` of the hookpoint; None leaves out the ways that need one."""
    sets: tuple[str, ...] = DETECTION_SETS
    """Labelled sets of the library, or files of JSON lines {text, label, group, hard}."""
    reading: ReadSettings = field(default_factory=lambda: ReadSettings(n_texts=120, context=48))
    """How many texts of a set are read, and how much of each."""
    reft: ReFTr1 = field(default_factory=lambda: ReFTr1(batch_texts=4, max_steps=8, max_tokens=32))
    """ReFT-r1, shorter than by itself: it runs the model forth and back."""
    vectors: VectorSettings = field(default_factory=lambda: VectorSettings(n_shuffles=20))
    """How texts are scored, the nulls, and the seed of everything that is drawn."""
    n_probe_shuffles: int = 3
    """Random orders of labels for the logistic probe, which looks for its penalty each time; `n_shuffles` are those for
    the difference of means."""

    def __post_init__(self) -> None:
        if self.n_probe_shuffles < 0:
            raise ConfigError(f"n_probe_shuffles is {self.n_probe_shuffles}, expected at least 0")

    def resolved(self) -> "DetectionBench":
        """What `quick` stands for, written out."""
        if not self.quick:
            return self
        reading = dataclasses.replace(self.reading, n_texts=min(QUICK_TEXTS, self.reading.n_texts))
        return dataclasses.replace(self, quick=False, sets=self.sets[:QUICK_SETS], reading=reading)


def bench_detection(settings: DetectionBench, *, out: Path) -> list[Score]:
    """Score rows of every way on every set, and their means; also in `out`/scores, with `table.md`.

    Raises ConfigError for unknown sets, sets with too few texts, or a dictionary of another hookpoint.
    """
    require_science("detection of concepts")
    settings = settings.resolved()
    seed = settings.vectors.seed
    sets = open_sets(settings.sets, n_texts=settings.reading.n_texts, seed=seed)
    for each in sets.values():
        draw_task(each, n_texts=settings.reading.n_texts, seed=settings.reading.halves_seed)  # refused now, not later
    model = load_model(settings.model)
    dictionary = None if settings.dictionary is None else load_dictionary(settings.dictionary)
    given = {} if dictionary is None else {"dictionary": dictionary}
    hookpoint = common_hookpoint(model, given, settings.hookpoint, purpose="detection of concepts")
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "detection of concepts",
            "model": dict(model.identity),
            "hookpoint": hookpoint,
            "sets": {name: each.digest for name, each in sets.items()},
            "reading": settings.reading,
            "reft": settings.reft,
            "vectors": settings.vectors,
            "n_probe_shuffles": settings.n_probe_shuffles,
        },
        seed=seed,
        parents={} if settings.dictionary is None else {"dictionary": settings.dictionary},
        materials=records_of(model.materials, sets.values()),
    )
    if not artifacts.is_finished(out / "scores", recipe):
        with artifacts.draft(out / "scores", recipe) as work:
            _measure(_Job(model, dictionary, hookpoint, settings, out), sets, work)
    return read_scores(out / "scores")


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call was asked for."""

    model: Model
    dictionary: Dictionary | None
    hookpoint: str
    settings: DetectionBench
    out: Path

    def read(self, labelled: LabelledSet) -> Contrast:
        """The activations of a set, as pairs where it has pairs."""
        contrast = contrast_of_texts(self.model, labelled, hookpoint=self.hookpoint, settings=self.settings.reading)
        return contrast.as_pairs() if labelled.is_paired else contrast

    def shifts(self, pairs: Iterable[Contrast]) -> Dictionary | None:
        """A dictionary of the shifts of the teaching halves, without their names; None for fewer than two sets."""
        shifts = [each.places[self.hookpoint].teach.shifts_PD() for each in pairs]
        if len(shifts) < 2:
            return None
        settings = ShiftSettings(n_features=len(shifts), seed=self.settings.vectors.seed)
        return learn_shifts(torch.cat(shifts).float(), settings, out=self.out / "shifts")


def _measure(job: _Job, sets: Mapping[str, LabelledSet], work: Draft) -> None:
    """The rows of set after set, each kept at once, then the means and the tables."""
    state: dict[str, Any] = work.state() or {"rows": {}, "facts": {}}
    pairs = {name: job.read(each) for name, each in sets.items() if each.is_paired}
    shifts = job.shifts(pairs.values())
    for number, (name, labelled) in enumerate(sets.items()):
        if name not in state["rows"]:
            contrast = pairs[name] if name in pairs else job.read(labelled)
            state["rows"][name] = [to_row(row) for row in _set_rows(job, contrast, shifts)]
            state["facts"][name] = asdict(_facts(contrast, job.hookpoint))
            work.checkpoint(state)
        progress.report("detection", number + 1, len(sets), "sets")
    rows = [from_row(row) for name in sets for row in state["rows"][name]]
    rows += over_sets(rows, seed=job.settings.vectors.seed)
    write_scores(work.path, rows)
    facts = {name: SetFacts(**state["facts"][name]) for name in sets}
    write_atomic(work.path / "table.md", detection_table(rows, facts, nulls=NULLS).encode())


def _set_rows(job: _Job, contrast: Contrast, shifts: Dictionary | None) -> Iterator[Score]:
    """Every way on one set, the words, and the nulls."""
    halves, settings = contrast.places[job.hookpoint], job.settings.vectors
    n_shuffles = {MEANS: settings.n_shuffles, PROBE: job.settings.n_probe_shuffles}
    for method, learner, dictionary in _learners(job, halves, shifts):
        vector = learn_vector(
            contrast,
            learner,
            out=job.out / "vectors" / f"{contrast.name}-{method.replace(' ', '-')}",
            model=job.model,
            dictionary=dictionary,
            settings=dataclasses.replace(settings, n_random=0, n_shuffles=n_shuffles.get(method, 0)),
        )
        for row in vector.scores:
            figure = row.metric.removesuffix(f" · {job.hookpoint}")
            yield _named(row, method if row.subject == VECTOR else f"{method}, {SHUFFLED}", figure, contrast)
        if dictionary is not None and method in BY_CODE:
            feature = vector.origin["chosen"][job.hookpoint]["feature"]
            for row in code_rows(BY_CODE[method], feature, dictionary, halves, settings):
                yield _named(row, row.subject, row.metric, contrast)
    others = word_rows(job.model, halves, seed=settings.seed)
    if settings.n_random:
        others += random_rows(halves, settings.pool, n=settings.n_random, seed=settings.seed)
    for row in others:
        yield _named(row, row.subject, row.metric, contrast)


def _learners(job: _Job, halves: Halved, shifts: Dictionary | None) -> Iterator[tuple[str, Method, Dictionary | None]]:
    """Name of each way → the learner, and the dictionary that it needs."""
    yield from ((name, learner, None) for name, learner in FROM_LABELS.items())
    yield REFT, job.settings.reft, None
    if shifts is not None and halves.teach.is_paired:
        yield SHIFTS, ShiftColumn(), shifts
    if job.dictionary is not None:
        yield DENOISED, DenoisedDiffMean(), job.dictionary
        yield BY_AUROC, DecoderRow(by="auroc"), job.dictionary
        x_ND = halves.teach.x_ND
        k = max(1, round(job.dictionary.encode(x_ND).l0()))
        drawn = random_dictionary(job.dictionary, x_ND, k=k, seed=job.settings.vectors.seed)
        yield RANDOM_BEST, DecoderRow(by="auroc"), drawn


def code_rows(
    subject: str, feature: int, dictionary: Dictionary, halves: Halved, settings: VectorSettings
) -> list[Score]:
    """The figures of a feature's own codes, threshold and all."""
    teach_T, report_T = (text_codes(half, dictionary, settings.pool)[:, feature].double().numpy() for half in halves)
    threshold = best_threshold(teach_T, halves.teach.labels_T)
    return detected(subject, report_T, halves.report, threshold=threshold, seed=settings.seed)


def word_rows(model: Model, halves: Halved, *, seed: int) -> list[Score]:
    """The figures of a logistic regression on which words occur, in those parts of the texts that the model read."""
    texts = [str(model.tokenizer.decode(list(row), skip_special_tokens=True)) for half in halves for row in half.tokens]
    labels_T, groups_T = (
        np.concatenate(both) for both in zip(*((h.labels_T, h.groups_T) for h in halves), strict=True)
    )
    is_teach_T = np.arange(len(texts)) < halves.teach.n_texts
    scores_T = word_scores(texts, labels_T, groups_T, is_teach_T)
    threshold = best_threshold(scores_T[is_teach_T], halves.teach.labels_T)
    return detected(WORDS, scores_T[~is_teach_T], halves.report, threshold=threshold, seed=seed)


def over_sets(rows: Iterable[Score], *, seed: int) -> Iterator[Score]:
    """Means over sets, and how much further than the bag of words a way gets on its sets, and on how many."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        figure, _, name = row.metric.partition(" · ")
        found.setdefault((row.subject, figure), {})[name] = row.value
    words = found[WORDS, AREA]
    for (subject, figure), values in found.items():
        yield _mean(subject, f"{figure} · {MEAN}", list(values.values()), seed)
        if figure == AREA and subject != WORDS:
            gains = [value - words[name] for name, value in values.items()]
            yield _mean(subject, f"{GAIN} · {MEAN}", gains, seed)
            yield _mean(subject, ABOVE, [float(gain > 0) for gain in gains], seed)


def _mean(subject: str, metric: str, values: list[float], seed: int) -> Score:
    return score(subject, metric, mean_over_groups(np.array(values), np.arange(len(values)), seed=seed), unit="sets")


def _named(row: Score, subject: str, figure: str, contrast: Contrast) -> Score:
    return dataclasses.replace(row, subject=subject, metric=f"{figure} · {contrast.name}")


def _facts(contrast: Contrast, hookpoint: str) -> SetFacts:
    teach, report = contrast.places[hookpoint]
    return SetFacts(
        question=contrast.question,
        teaching=teach.n_texts,
        reporting=report.n_texts,
        hard=0 if report.is_hard_T is None else int(report.is_hard_T.sum()),
        groups=len(np.unique(report.groups_T)),
        is_paired=report.is_paired,
    )
