"""The explanations bench: words where the right ones are known, and words that must predict firing where they are not.

Planted worlds hold each form to account, the published ranking p(w|c) · log p(c|w) included, which must fail there. On
the real dictionary every method of `explain` is scored on documents that none was read off. A run folder with the
`explanations`, their `word-scores`, and `scores` (kind `scores`: `scores.jsonl`, `table.md`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import over_runs
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.explanations.by_text import words_of_text
from bathyscope.explanations.explain import explain
from bathyscope.explanations.firing_information import FiringInformation
from bathyscope.explanations.mutual_information import MutualInformation, WordModel
from bathyscope.explanations.planted import N_TOPICS, PER_TOPIC, PlantedText, planted_directions, planted_text
from bathyscope.explanations.scores.half import WordScoreSettings
from bathyscope.explanations.scores.score_words import AUC, REPORTING, score_words
from bathyscope.features.reader import FeatureIndex
from bathyscope.files import write_atomic
from bathyscope.models.load import load_model

SCORES, TABLE = "scores", "table.md"
FOUND, RIGHT = "planted words found", "named words that are planted"
BELIEVED = "features believed without cause"
"""Share of features that fire without any tie to words, of which a word is said to beat the circular shifts."""
POINTWISE, LITERAL, LITERAL_RAW, LENS = (
    "pointwise, automatic temperature",
    "published rule, automatic temperature",
    "published rule, no temperature",
    "bare logit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationBench:
    """Settings of `bench_explanations`."""

    features: Path | None = Path("runs/demo/features")
    """Folder of kind `features`; None leaves the real dictionary out and runs the planted worlds alone."""
    dictionary: Path = Path("runs/demo/dictionary")
    """Folder of kind `dictionary`, the one that was indexed."""
    activations: Path = Path("runs/demo/activations")
    """Folder of kind `activations`, the one that was indexed."""
    model: str = "smollm2"
    """The model the activations came from."""
    n_scored: int = 1000
    """Features scored, half of them to choose a method by and half to report."""
    n_explaining: int = 200_000
    """Tokens that words are read off."""
    n_scoring: int = 100_000
    """Tokens that words are scored on."""
    scales: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    """Standard deviations of the logits of the planted directions."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the planted worlds; the first is the seed of everything else."""

    def __post_init__(self) -> None:
        if min(self.n_scored, self.n_explaining, self.n_scoring) < 1 or not self.scales or min(self.scales) <= 0:
            raise ConfigError("n_scored, n_explaining and n_scoring are at least 1, scales above 0 and at least one")
        if len(set(self.seeds)) < max(len(self.seeds), 1):
            raise ConfigError(f"seeds {self.seeds} are none or repeat: the same run twice is no second run")


def bench_explanations(settings: ExplanationBench, *, out: Path) -> list[Score]:
    """Score rows of the planted worlds and of the real dictionary, also written to `out`/scores."""
    parents = {} if settings.features is None else {"features": settings.features, "activations": settings.activations}
    recipe = Recipe(kind="scores", config=settings, seed=settings.seeds[0], parents=parents)
    if not artifacts.is_finished(out / SCORES, recipe):
        with artifacts.draft(out / SCORES, recipe) as work:
            rows = [*_planted_rows(settings, work)]
            if settings.features is not None:
                rows += _real_rows(settings, settings.features, out)
            write_scores(work.path, rows)
            write_atomic(work.path / TABLE, table(rows, settings).encode())
    return read_scores(out / SCORES)


def published_ranking(words: WordModel, *, n: int, tau: float) -> Int[Tensor, "F n"]:
    """The `n` words of largest p(w|c) · log p(c|w), as published (Wu et al. 2025); kept to be measured against."""
    S_FV = words.logits(words.U_FD) * (words.tau / tau)
    return (S_FV.softmax(1) * S_FV.log_softmax(0)).topk(n, dim=1).indices


def _planted_rows(settings: ExplanationBench, work: Draft) -> Iterator[Score]:
    directions: dict[str, list[float]] = {}
    text: dict[tuple[str, str], list[float]] = {}
    for number, seed in enumerate(settings.seeds):
        for subject, share in _directions(settings, seed):
            directions.setdefault(subject, []).append(share)
        world = planted_text(work.checkpoint_path / f"planted-{seed}", seed=seed)
        for subject, metric, share in _text(world, seed):
            text.setdefault((subject, metric), []).append(share)
        progress.report("bench: planted", number + 1, len(settings.seeds), "worlds")
    for subject, shares in directions.items():
        yield score(f"directions: {subject}", FOUND, over_runs(shares), unit="seeds", split="planted")
    for (subject, metric), shares in text.items():
        yield score(f"text: {subject}", metric, over_runs(shares), unit="seeds", split="planted")


def _directions(settings: ExplanationBench, seed: int) -> Iterator[tuple[str, float]]:
    """Subject → share of a topic's words among as many best words, mean over topics."""
    world, k = planted_directions(seed=seed), MutualInformation().k
    own, std = torch.arange(N_TOPICS)[:, None], float((world.U_FD @ world.E_VD.T).std())
    for scale in settings.scales:
        words = WordModel.fit(world.U_FD * (scale / std), world.E_VD, k=k, bayes=False)
        found = {
            POINTWISE: words.ranked(words.U_FD, n=PER_TOPIC).words,
            LENS: words.ranked(words.U_FD, n=PER_TOPIC, by_logit=True).words,
            LITERAL: published_ranking(words, n=PER_TOPIC, tau=words.tau),
            LITERAL_RAW: published_ranking(words, n=PER_TOPIC, tau=1.0),
        }
        for name, numbers in found.items():
            yield f"{name}, logits of std {scale:g}", float((world.topic_V[numbers] == own).float().mean())


def _text(world: PlantedText, seed: int) -> Iterator[tuple[str, str, float]]:
    """Subject, metric and share, for every way of reading text."""
    found = words_of_text(world.reading, FiringInformation(), world.table, n=PER_TOPIC, seed=seed)
    for part in found.parts:
        shares = [len(own & set(part.words[f])) / len(own) for f, own in enumerate(world.words)]
        yield part.method, FOUND, float(np.mean(shares))
        named = [[word for word in part.words[f] if word] for f in range(len(world.words))]
        right = [np.mean([word in own for word in words]) for own, words in zip(world.words, named, strict=True)]
        yield part.method, RIGHT, float(np.mean(right))
        if part.beats_null is not None:
            yield part.method, BELIEVED, float(part.beats_null[len(world.words) :].any(axis=1).mean())


def _real_rows(settings: ExplanationBench, features: Path, out: Path) -> list[Score]:
    model, dictionary = load_model(settings.model), load_dictionary(settings.dictionary)
    store, seed = ActivationStore(settings.activations), settings.seeds[0]
    explanations = explain(
        FeatureIndex(features),
        MutualInformation(seed=seed),
        model=model,
        dictionary=dictionary,
        activations=store,
        firing=FiringInformation(n_tokens=settings.n_explaining),
        out=out / "explanations",
    )
    scores = WordScoreSettings(n_features=settings.n_scored, n_tokens=settings.n_scoring, seed=seed)
    return score_words(
        explanations, model=model, dictionary=dictionary, activations=store, out=out / "word-scores", settings=scores
    )


def table(rows: Sequence[Score], settings: ExplanationBench) -> str:
    """The rows as Markdown: planted worlds, then the real dictionary with both halves of its features."""
    planted = [row for row in rows if row.split == "planted"]
    lines = [
        f"Planted worlds, seeds {', '.join(map(str, settings.seeds))}; mean ± half the 95 % interval over seeds.",
        "",
    ]
    lines += ["| world and way | figure | value |", "|---|---|---|"]
    lines += [f"| {row.subject} | {row.metric} | {_value(row)} |" for row in planted]
    if len(planted) < len(rows):
        lines += ["", *_real_table(rows)]
    return "\n".join(lines) + "\n"


def _real_table(rows: Sequence[Score]) -> Iterator[str]:
    metrics = [AUC, *(f"{AUC}, {third} third" for third in ("low", "middle", "high"))]
    found = {(row.subject, row.metric, row.split): row for row in rows}
    reported = [row for row in rows if row.metric == AUC and row.split == REPORTING]
    minus = next(row.metric for row in rows if row.metric.startswith(f"{AUC}, ") and row.metric.endswith("minus this"))
    yield "Scoring documents; mean over features, 95 % interval over documents. All but one column: second half."
    yield ""
    yield f"| words | AUC, first half | AUC | {minus.removeprefix(f'{AUC}, ')} | low third | middle | high |"
    yield "|---|---|---|---|---|---|---|"
    for row in sorted(reported, key=lambda row: -row.value):
        first = next(own for own in rows if (own.subject, own.metric) == (row.subject, AUC) and own.split != REPORTING)
        cells = [found.get((row.subject, metric, REPORTING)) for metric in (AUC, minus, *metrics[1:])]
        yield f"| {row.subject} | {first.value:.3f} | {' | '.join(_interval(cell) for cell in cells)} |"
    others = [row for row in rows if row.split == REPORTING and not row.metric.startswith(AUC)]
    yield ""
    yield "| figure | of | value |"
    yield "|---|---|---|"
    for row in others:
        yield f"| {row.metric} | {row.subject} | {_interval(row)} |"


def _value(row: Score) -> str:
    half = f" ± {(row.high - row.low) / 2:.3f}" if np.isfinite(row.low) else ""
    return f"{row.value:.3f}{half}"


def _interval(row: Score | None) -> str:
    return "–" if row is None else f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
