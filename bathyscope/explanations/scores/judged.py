"""`judge_explanations`: scores of explanations on documents that they were not made from, beside their nulls.

Each scorer sees a feature's own explanation, then another feature's (`shuffled`), on the same passages; the
explanations of random directions on theirs (`random feature`), where they are given; and passages whose answer is known
(`calibration`). A passage without an answer is its own class: counted, never wrong, kept in
`passages.jsonl`. A folder of kind `scores` with `scores.jsonl`, `table.md` and `passages.jsonl`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.config import canonical
from bathyscope.errors import ConfigError
from bathyscope.evaluation.scores import Score, read_scores, write_scores
from bathyscope.explanations.calibration import calibration
from bathyscope.explanations.passages import FIRING, Passage, PassageSettings, halves, spread
from bathyscope.explanations.prompts import PLACES, prompt
from bathyscope.explanations.scores.detection import Detection
from bathyscope.explanations.scores.embedding import Embedding, mean_embedding
from bathyscope.explanations.scores.figures import figures
from bathyscope.explanations.scores.fuzzing import Fuzzing
from bathyscope.explanations.scores.intruder import Intruder
from bathyscope.explanations.scores.measured import Measured, Scorer, Statistic
from bathyscope.explanations.scores.simulation import Simulation
from bathyscope.explanations.scores.surprisal import Surprisal
from bathyscope.explanations.specificity import Specificity, levels
from bathyscope.explanations.written import answers_file
from bathyscope.features.reader import FeatureIndex
from bathyscope.files import sha256_of, write_atomic
from bathyscope.models.model import Model
from bathyscope.models.writers.remembered import Remembered
from bathyscope.models.writers.writer import Judge

ScorerName = Literal["detection", "fuzzing", "intruder", "simulation", "specificity", "surprisal", "embedding"]
WITHOUT_JUDGE: tuple[ScorerName, ...] = ("surprisal", "embedding")
"""Scorers that read the subject model instead."""
PASSAGES_FILE, TABLE = "passages.jsonl", "table.md"
RANDOM = "random feature"
FEWEST = 2
"""Fewest firing, and fewest other, passages of a feature that is scored."""

Rows = dict[tuple[str, str], list[Measured]]
"""Scorer and condition → what was found."""


@dataclass(frozen=True, slots=True)
class RandomFeatures:
    """Features of a random dictionary, explained in the same way: what explaining finds where there is nothing."""

    index: FeatureIndex
    texts: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """What is measured."""

    scorers: tuple[ScorerName, ...] = ("detection", "simulation")
    """Ways of scoring."""
    n_firing: int = 6
    """Passages with firing for each feature, in turn from the intervals high, middle and low."""
    n_quiet: int = 6
    """Passages without firing, in turn near misses and silent ones."""
    passages: PassageSettings = field(default_factory=PassageSettings)
    """How passages are cut and halved; its seed is that of the explanations."""
    prompts: Path | None = None
    """Folder with edited prompts (`detection.txt`, …)."""

    def __post_init__(self) -> None:
        if not self.scorers or len(set(self.scorers)) < len(self.scorers):
            raise ConfigError("name at least one scorer, each once")
        if min(self.n_firing, self.n_quiet) < FEWEST:
            raise ConfigError(f"n_firing and n_quiet are at least {FEWEST}")


def judge_explanations(
    index: FeatureIndex,
    texts: Mapping[int, str],
    judge: Judge | None = None,
    *,
    out: str | Path,
    model: Model | None = None,
    random: RandomFeatures | None = None,
    settings: JudgeSettings = JudgeSettings(),
    parents: Mapping[str, Path] | None = None,
    answers: Path | None = None,
) -> list[Score]:
    """Scores of `texts` (feature → explanation) in the folder `out` (kind `scores`).

    `model` is the subject model, for surprisal and embedding. `parents` are the folders that the texts come from.
    Raises ConfigError when a judge or model is missing, fewer than two different explanations are given or a feature is
    unknown; ModelError when the judge cannot be reached: what it answered is kept, and the same call goes on.
    """
    out = Path(out)
    shuffled = other_explanations(texts, seed=settings.passages.seed)
    named = [name for name in settings.scorers if name in PLACES]
    recipe = Recipe(
        kind="scores",
        config={
            "settings": settings,
            "explanations": _digest(texts),
            "random": None if random is None else _digest(random.texts),
            "judge": None if judge is None else dict(judge.identity),
            "model": None if model is None else dict(model.identity),
            "prompts": {name: prompt(name, settings.prompts).digest for name in named},
        },
        seed=settings.passages.seed,
        parents={
            "features": index.path,
            **({} if random is None else {"random-features": random.index.path}),
            **(parents or {}),
        },
        materials=(*index.manifest.materials, *(judge.materials if judge else ())),
    )
    if not artifacts.is_finished(out, recipe):
        asked = None if judge is None else Remembered(judge, answers or answers_file(judge))
        scorers = [_scorer(name, asked, model, settings) for name in settings.scorers]
        passages = scoring_passages(index, sorted(texts), settings)
        with artifacts.draft(out, recipe) as work:
            rows = _measure(scorers, passages, texts, shuffled)
            if random is not None:
                rows |= _measure_random(scorers, random, settings)
            _write(work, rows, scorers, texts, settings)
            work.log(stage="judge", **({} if asked is None else asdict(asked.cost)))
    return read_scores(out)


def other_explanations(texts: Mapping[int, str], *, seed: int) -> dict[int, str]:
    """For each feature the explanation of another one that reads differently.

    Raises ConfigError when all read alike: there is nothing to compare with.
    """
    features = sorted(texts)
    order = [features[int(i)] for i in np.random.default_rng(seed).permutation(len(features))]
    found: dict[int, str] = {}
    for place, feature in enumerate(order):
        following = (texts[order[(place + step) % len(order)]] for step in range(1, len(order)))
        other = next((text for text in following if text != texts[feature]), None)
        if other is None:
            raise ConfigError("fewer than two different explanations: there is no other one to compare with")
        found[feature] = other
    return found


def scoring_passages(index: FeatureIndex, features: Sequence[int], settings: JudgeSettings) -> dict[int, list[Passage]]:
    """Passages of the scoring half for each feature that has enough; raises ConfigError when none has."""
    found: dict[int, list[Passage]] = {}
    for feature in features:
        scoring = halves(index, feature, settings.passages).scoring
        firing = spread(scoring, FIRING, n=settings.n_firing)
        quiet = spread(scoring, ("near miss", "silent"), n=settings.n_quiet)
        if min(len(firing), len(quiet)) >= FEWEST:
            found[feature] = [*firing, *quiet]
    if not found:
        raise ConfigError(
            f"no feature has {FEWEST} firing and {FEWEST} other passages on the scoring half; index more text"
        )
    return found


def _scorer(name: ScorerName, judge: Judge | None, model: Model | None, settings: JudgeSettings) -> Scorer:
    if name in WITHOUT_JUDGE:
        if model is None:
            raise ConfigError(f"{name} reads the subject model; give it")
        return Surprisal(model=model) if name == "surprisal" else Embedding(embed=mean_embedding(model))
    if judge is None:
        raise ConfigError(f"{name} asks a judge; give one")
    text, seed = prompt(name, settings.prompts), settings.passages.seed
    match name:
        case "detection":
            return Detection(judge=judge, prompt=text)
        case "fuzzing":
            return Fuzzing(judge=judge, prompt=text, seed=seed)
        case "intruder":
            return Intruder(judge=judge, prompt=text, seed=seed)
        case "simulation":
            return Simulation(judge=judge, prompt=text)
        case _:
            return Specificity(judge=judge, prompt=text)


def _measure(
    scorers: Sequence[Scorer],
    passages: Mapping[int, Sequence[Passage]],
    texts: Mapping[int, str],
    shuffled: Mapping[int, str],
) -> Rows:
    rows: Rows = {}
    total = len(scorers) * len(passages)
    for number, scorer in enumerate(scorers):
        if scorer.reads_explanation:
            known = [row for text, own in calibration().items() for row in scorer.measure(text, own)]
            rows[scorer.name, "calibration"] = known
        for place, (feature, own) in enumerate(passages.items(), start=1):
            rows.setdefault((scorer.name, "own"), []).extend(scorer.measure(texts[feature], own))
            if scorer.reads_explanation:
                rows.setdefault((scorer.name, "shuffled"), []).extend(scorer.measure(shuffled[feature], own))
            progress.report("judge", number * len(passages) + place, total, "features", scorer=scorer.name)
    return rows


def _measure_random(scorers: Sequence[Scorer], random: RandomFeatures, settings: JudgeSettings) -> Rows:
    """The random features' own explanations on their own passages."""
    rows: Rows = {}
    passages = scoring_passages(random.index, sorted(random.texts), settings)
    total = len(scorers) * len(passages)
    for number, scorer in enumerate(scorers):
        for place, (feature, own) in enumerate(passages.items(), start=1):
            rows.setdefault((scorer.name, RANDOM), []).extend(scorer.measure(random.texts[feature], own))
            progress.report("judge: random", number * len(passages) + place, total, "features", scorer=scorer.name)
    return rows


def _digest(texts: Mapping[int, str]) -> str:
    return sha256_of(canonical({str(feature): text for feature, text in sorted(texts.items())}))


def _write(
    work: Draft, rows: Rows, scorers: Sequence[Scorer], texts: Mapping[int, str], settings: JudgeSettings
) -> None:
    lines = [
        {"scorer": scorer, "condition": condition, **asdict(row)}
        for (scorer, condition), measured in rows.items()
        for row in measured
    ]
    text = "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines)
    write_atomic(work.path / PASSAGES_FILE, text.encode())
    statistics: dict[str, Sequence[Statistic]] = {scorer.name: scorer.statistics for scorer in scorers}
    scores = figures(rows, statistics, seed=settings.passages.seed)
    graded = {condition: own for (scorer, condition), own in rows.items() if scorer == "specificity"}
    scores += levels(graded, seed=settings.passages.seed)
    write_scores(work.path, scores)
    own = {row.feature for (_, condition), measured in rows.items() if condition == "own" for row in measured}
    n_passages = {scorer: len(measured) for (scorer, condition), measured in rows.items() if condition == "own"}
    head = f"{len(own)} of {len(texts)} explained features; passages with the own explanation: " + ", ".join(
        f"{scorer} {n}" for scorer, n in n_passages.items()
    )
    write_atomic(work.path / TABLE, f"{head}\n\n{_table(scores)}".encode())


def _table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table, one line a figure."""
    lines = ["| figure | of | value | 95 % interval | documents |", "|---|---|---|---|---|"]
    lines += [f"| {s.metric} | {s.subject} | {s.value:.3f} | {s.low:.3f} to {s.high:.3f} | {s.n} |" for s in scores]
    return "\n".join(lines) + "\n"
