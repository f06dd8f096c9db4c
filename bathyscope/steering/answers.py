"""Steered answers beside the plain answer and beside a random direction of equal length, over several strengths."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.features.index import FeatureIndex
from bathyscope.models.decoding import Draw
from bathyscope.models.generate import Generation, generate
from bathyscope.models.model import Model
from bathyscope.models.repetition import repetition
from bathyscope.steering.effects import Text, answer_log_probs, effects
from bathyscope.steering.numbers import is_number
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.steer import steer
from bathyscope.steering.targets import read_tokens

FILE = "generations.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSettings:
    """Settings of `answers`."""

    features: tuple[int, ...]
    """Features to steer with, one at a time."""
    prompts: tuple[str, ...]
    """Prompts to answer; keep them apart from those on which the features were chosen."""
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Clamp targets in multiples of each feature's observed maximum."""
    max_new_tokens: int = 40
    """Longest answer, in tokens."""
    temperature: float = 0.0
    """0 answers greedily; above, tokens are sampled at this temperature."""
    seed: int = 0
    """Seed of sampling and of the random directions."""

    def __post_init__(self) -> None:
        if not self.features or not self.prompts or not self.strengths:
            raise ConfigError("answers needs at least one feature, one prompt and one strength")
        if not all(map(is_number, self.strengths)):
            raise ConfigError(f"strengths are {self.strengths}, expected finite numbers of observed maxima")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}, expected at least 1")
        Draw(temperature=self.temperature)  # refused before anything is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One row of `generations.jsonl`."""

    prompt: str
    """The prompt as the user wrote it."""
    arm: str
    """`plain`, `feature` or `random` (a random direction that moves every token just as far)."""
    feature: int | None
    """Steered feature (for `random`: the feature whose length of move is copied); None for `plain`."""
    operation: str
    """`none` or `clamp`."""
    strength: float
    """Multiple of the observed maximum; 0 for `plain`."""
    seed: int
    """Seed of sampling and of the random direction."""
    prompt_tokens: list[int]
    """Token ids given to the model, chat template included."""
    tokens: list[int]
    """Token ids answered."""
    text: str
    """The answer."""
    effect: dict[str, float]
    """On the plain answer, in nats: `target log-prob shift` (the tokens that the feature reads) and `KL`; and the
    `repetition` of this answer (share of repeated three-token sequences)."""


def answers(
    model: Model,
    dictionary: Dictionary,
    index: FeatureIndex,
    *,
    out: Path,
    parents: dict[str, Path],
    settings: AnswerSettings,
) -> list[Answer]:
    """All answers, also written to the folder `out` (kind `generations`). Resumes after the last finished strength."""
    recipe = Recipe(
        kind="generations", config=settings, seed=settings.seed, parents=parents, materials=tuple(model.materials)
    )
    if not artifacts.is_finished(out, recipe):
        jobs = [(feature, strength) for feature in settings.features for strength in settings.strengths]
        operations = {job: Clamp(dictionary, (job[0],), job[1]) for job in jobs}
        with artifacts.draft(out, recipe) as work:
            rows: list[dict[str, Any]] = (work.state() or {"rows": []})["rows"]
            plain = _generate(model, settings)
            if not rows:
                rows = [asdict(_plain(generation, settings)) for generation in plain]
            n_before = (len(rows) - len(plain)) // (2 * len(plain))
            unsteered = _Plain(generations=plain, log_probs=answer_log_probs(model, _texts(plain)))
            for number, job in enumerate(jobs[n_before:], start=n_before):
                targets = read_tokens(index, job[0])
                rows += [asdict(row) for row in _steered(model, operations[job], job, unsteered, targets, settings)]
                work.checkpoint({"rows": rows})
                progress.report("steer", number + 1, len(jobs), "strengths")
            text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
            artifacts.write_atomic(work.path / FILE, text.encode())
    return read_answers(out)


def read_answers(path: Path) -> list[Answer]:
    """The rows of a finished folder of kind `generations`. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind="generations")
    text = artifacts.check_file(path, manifest, FILE).read_text()
    return [Answer(**json.loads(line)) for line in text.splitlines() if line]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    """The unsteered answers, and the model's own log-probabilities on them."""

    generations: Sequence[Generation]
    log_probs: Sequence[Tensor]


def _generate(model: Model, settings: AnswerSettings) -> list[Generation]:
    return generate(
        model,
        settings.prompts,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
    )


def _plain(generation: Generation, settings: AnswerSettings) -> Answer:
    effect = {"target log-prob shift": 0.0, "KL": 0.0, "repetition": repetition(generation.tokens)}
    return _row(generation, settings, arm="plain", feature=None, operation="none", strength=0.0, effect=effect)


def _steered(
    model: Model,
    clamp: Clamp,
    job: tuple[int, float],
    plain: _Plain,
    targets: Sequence[int],
    settings: AnswerSettings,
) -> list[Answer]:
    """The answers of the feature's clamp and of its random-direction control, for every prompt."""
    feature, strength = job
    rows: list[Answer] = []
    for arm, operation in {"feature": clamp, "random": RandomDirection(clamp, settings.seed + feature)}.items():
        with steer(model, [operation]):
            after = answer_log_probs(model, _texts(plain.generations))
            measured = effects(plain.log_probs, after, targets=targets)
            generations = _generate(model, settings)
        for generation, effect in zip(generations, measured, strict=True):
            figures = {
                "target log-prob shift": effect.target_log_prob_shift,
                "KL": effect.kl,
                "repetition": repetition(generation.tokens),
            }
            rows.append(
                _row(
                    generation, settings, arm=arm, feature=feature, operation="clamp", strength=strength, effect=figures
                )
            )
    return rows


def _texts(generations: Sequence[Generation]) -> list[Text]:
    return [(generation.prompt_tokens, generation.tokens) for generation in generations]


def _row(
    generation: Generation,
    settings: AnswerSettings,
    *,
    arm: str,
    feature: int | None,
    operation: str,
    strength: float,
    effect: dict[str, float],
) -> Answer:
    return Answer(
        prompt=generation.prompt,
        arm=arm,
        feature=feature,
        operation=operation,
        strength=strength,
        seed=settings.seed,
        prompt_tokens=list(generation.prompt_tokens),
        tokens=list(generation.tokens),
        text=generation.text,
        effect=effect,
    )
