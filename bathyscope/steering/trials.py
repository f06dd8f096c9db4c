"""`run_trials`: what the model answers to plain instructions under every arm, at every factor.

AxBench's experiment (Wu et al. 2025, arXiv 2501.17148): instructions that have nothing to do with the concept, so that
an answer about it is the steering's doing. A folder of kind `trials`; whether answers are any good is judged elsewhere.
"""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.models.alike import alike_before
from bathyscope.models.decoding import Draw
from bathyscope.models.generate import generate
from bathyscope.models.model import Model
from bathyscope.steering.arm import Arm
from bathyscope.steering.steer import first_place, steer_rows

KIND, FILE = "trials", "trials.jsonl"

INSTRUCTIONS = (
    "Tell me about your day.",
    "Describe a place that you like.",
    "Write the first sentences of a story.",
    "Give me some advice for the weekend.",
    "What should I talk about with a friend?",
    "Describe a picture that hangs on the wall.",
    "Tell me what you remember of last year.",
    "What makes a person happy?",
    "Explain what a good teacher does.",
    "Describe the room that you are in.",
    "Write a short letter to a neighbour.",
    "What would you do with a free afternoon?",
)
"""Instructions that ask for nothing in particular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """How answers are made."""

    instructions: tuple[str, ...] = INSTRUCTIONS
    """What the model is told; none should be about a concept."""
    max_new_tokens: int = 32
    """Longest answer, in tokens."""
    temperature: float = 1.0
    """Answers are sampled at this temperature; 0 takes the likeliest token."""
    batch_size: int = 32
    """Answers made at once; part of the result, since draws follow the place in the batch."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if not self.instructions or len(set(self.instructions)) < len(self.instructions):
            raise ConfigError("trials need at least one instruction, and none of them twice")
        if min(self.max_new_tokens, self.batch_size) < 1:
            raise ConfigError("max_new_tokens and batch_size must be at least 1")
        Draw(temperature=self.temperature)  # refused before anything is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of `trials.jsonl`."""

    concept: str
    method: str
    factor: float
    """Strength in units of the arm; 0 for the plain model and for a prompt."""
    instruction: int
    """Number of the instruction."""
    prompt: str
    """The instruction, as it was asked."""
    tokens: list[int]
    """Token ids answered."""
    text: str
    """The answer."""
    copy: int = 0
    """Number of the text among those that the arm made of the instruction."""
    given: str | None = None
    """That text; None where the model was given the instruction itself."""


def run_trials(
    model: Model,
    arms: Sequence[Arm],
    *,
    out: str | Path,
    parents: dict[str, Path] | None = None,
    settings: TrialSettings = TrialSettings(),
) -> list[Trial]:
    """One answer for each arm, factor and instruction, in this order; also in the folder `out` (kind `trials`).

    An arm that makes several texts of an instruction has an answer to each, one after the other. An interrupted run
    goes on after the last batch. Raises ConfigError for two arms of one concept and name, or none.
    """
    out = Path(out)
    names = [(arm.concept, arm.method) for arm in arms]
    if not arms or len(set(names)) < len(names):
        raise ConfigError("trials need at least one arm, and no two of one concept and method")
    recipe = Recipe(
        kind=KIND,
        config={
            "settings": settings,
            "model": dict(model.identity),
            "arms": [arm.described() for arm in arms],
        },
        seed=settings.seed,
        parents=parents or {},
        materials=tuple(model.materials),
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            rows: list[dict[str, Any]] = (work.state() or {"rows": []})["rows"]
            batches, began = list(_batches(arms, settings)), time.monotonic()
            order = [row.number for batch in batches for row in batch]
            first = 0
            for batch in batches:
                if first >= len(rows):
                    rows += map(asdict, _answers(model, batch, settings, seed=settings.seed + first))
                    work.checkpoint({"rows": rows})
                    progress.report("trials", len(rows), len(order), "answers")
                first += len(batch)
            work.log(stage="trials", answers=len(rows), seconds=round(time.monotonic() - began, 1))
            in_order = (row for _, row in sorted(zip(order, rows, strict=True), key=lambda pair: pair[0]))
            lines = "".join(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in in_order)
            artifacts.write_atomic(work.path / FILE, lines.encode())
    return read_trials(out)


def read_trials(path: Path) -> list[Trial]:
    """The rows of a finished folder of kind `trials`. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind=KIND)
    text = artifacts.check_file(path, manifest, FILE).read_text("utf-8")
    return [Trial(**json.loads(line)) for line in text.split("\n") if line]


@dataclass(frozen=True, slots=True)
class _Row:
    """One answer that is due."""

    number: int
    """Its place among all answers."""
    arm: Arm
    factor: float
    instruction: int
    copy: int
    given: str


def _batches(arms: Sequence[Arm], settings: TrialSettings) -> Iterator[list[_Row]]:
    """All answers, those with one system prompt together; only the last batch of a system prompt is smaller.

    Where nothing is drawn, texts of one length are answered together, so that batches hold little padding. Draws
    follow the place in the batch, and keep the order of the arms.
    """
    by_system: dict[str | None, list[Arm]] = {}
    for arm in arms:
        by_system.setdefault(arm.system, []).append(arm)
    numbers = itertools.count()
    for own in by_system.values():
        rows = [
            _Row(next(numbers), arm, factor, number, copy, given)
            for arm in own
            for factor in arm.operations
            for number, instruction in enumerate(settings.instructions)
            for copy, given in enumerate(arm.given(factor, instruction))
        ]
        if settings.temperature == 0:
            rows.sort(key=lambda row: (len(row.given), row.given))
        for first in range(0, len(rows), settings.batch_size):
            yield rows[first : first + settings.batch_size]


def _answers(model: Model, batch: Sequence[_Row], settings: TrialSettings, *, seed: int) -> list[Trial]:
    operations = [row.arm.operations[row.factor] for row in batch]
    with steer_rows(model, operations), alike_before(first_place(model, operations)):
        found = generate(
            model,
            [row.given for row in batch],
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            seed=seed,
            system=batch[0].arm.system,
            batch_size=len(batch),
        )
    return [
        Trial(
            concept=row.arm.concept,
            method=row.arm.method,
            factor=row.factor,
            instruction=row.instruction,
            prompt=settings.instructions[row.instruction],
            tokens=list(answer.tokens),
            text=answer.text,
            copy=row.copy,
            given=row.given if row.factor in row.arm.rewrites else None,
        )
        for row, answer in zip(batch, found, strict=True)
    ]
