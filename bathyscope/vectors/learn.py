"""`learn_vector`: a direction at each hookpoint of a contrast, its units, and what it is worth as a detector.

The learner sees the teaching half only; figures come from the reporting half, beside random directions and the same
learner on labels in a random order. Each direction learnt is checkpointed, and long learners inside themselves.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError, ModelError
from bathyscope.evaluation.probes import best_threshold
from bathyscope.evaluation.scores import Score
from bathyscope.models.model import Model
from bathyscope.vectors.contrast import Contrast, Halved
from bathyscope.vectors.detection import detection, report_area, shuffled, shuffled_row
from bathyscope.vectors.examples import Pool
from bathyscope.vectors.learner import Learner, Lesson
from bathyscope.vectors.vector import KIND, SteeringVector, Units, read_vector, write_vector


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSettings:
    """How a vector is learnt and measured, whatever the method."""

    pool: Pool = "mean"
    """What a text is: the mean of its tokens, or (`max`) its tokens one by one, scored by the largest."""
    n_random: int = 100
    """Random directions of the null."""
    n_shuffles: int = 5
    """Times that the learner is run on labels in a random order; 0 leaves this null out."""
    seed: int = 0
    """Seed of learners, nulls and intervals."""

    def __post_init__(self) -> None:
        if self.pool not in ("mean", "max"):
            raise ConfigError(f"pool is {self.pool!r}, expected mean or max")
        if min(self.n_random, self.n_shuffles) < 0:
            raise ConfigError("n_random and n_shuffles must be at least 0")


def learn_vector(
    contrast: Contrast,
    method: Learner,
    *,
    out: str | Path,
    model: Model | None = None,
    dictionary: Dictionary | None = None,
    parents: Mapping[str, Path] | None = None,
    settings: VectorSettings = VectorSettings(),
) -> SteeringVector:
    """The vector, also in the folder `out` (kind `vector`); an interrupted run goes on, to the same bytes.

    `model` and `dictionary` are for the methods that need them; `parents` are further artifact folders.
    Raises ConfigError when a method lacks what it needs, ModelError for another model than the one that was read.
    """
    if model is not None and dict(model.identity) != dict(contrast.model_identity):
        raise ModelError(f"the contrast was read from {contrast.model_identity.get('name')}, the model is {model.name}")
    origin = {
        "method": method,
        "settings": settings,
        "contrast": {"name": contrast.name, "question": contrast.question, "digest": contrast.digest},
        "hookpoints": list(contrast.places),
        "dictionary": None if dictionary is None else dictionary.digest,
    }
    recipe = Recipe(
        kind=KIND,
        config=origin,
        seed=settings.seed,
        parents={**contrast.parents, **(parents or {})},
        materials=contrast.materials,
    )
    out = Path(out)
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            job = _Job(contrast, method, model, dictionary, settings, work)
            write_vector(_assembled(job, origin), work.path)
    return read_vector(out)


@dataclass(frozen=True, slots=True)
class _Job:
    """Everything that learning reads, and the folder that it checkpoints into."""

    contrast: Contrast
    method: Learner
    model: Model | None
    dictionary: Dictionary | None
    settings: VectorSettings
    work: Draft

    def learnt(self) -> dict[str, list[dict[str, Any]]]:
        """Hookpoint → direction and notes of the true labels, then of each shuffle; each kept at once."""
        state: dict[str, Any] = self.work.state() or {"done": {}, "running": None}
        rounds = [(name, n) for name in self.contrast.places for n in range(1 + self.settings.n_shuffles)]
        for number, (hookpoint, shuffle) in enumerate(rounds):
            found: list[dict[str, Any]] = state["done"].setdefault(hookpoint, [])
            if shuffle < len(found) or (shuffle and not found[0]["from_labels"]):
                continue
            learned = self.method.learn(self._lesson(hookpoint, shuffle, state))
            told = {"notes": dict(learned.notes), "from_labels": learned.from_labels}
            found.append({"direction": learned.direction_D.double().tolist(), **told})
            state["running"] = None
            self.work.checkpoint(state)
            progress.report("vector", number + 1, len(rounds), "directions")
        return state["done"]

    def _lesson(self, hookpoint: str, shuffle: int, state: dict[str, Any]) -> Lesson:
        """What the learner is given; what it was at when the run was interrupted belongs to the first one."""
        teach, seed = self.contrast.places[hookpoint].teach, self.settings.seed
        return Lesson(
            examples=shuffled(teach, seed=seed + shuffle) if shuffle else teach,
            hookpoint=hookpoint,
            pool=self.settings.pool,
            seed=seed,
            model=self.model,
            dictionary=self.dictionary,
            state=state["running"],
            save=partial(self._keep, state),
        )

    def _keep(self, state: Mapping[str, Any], running: Mapping[str, Any]) -> None:
        self.work.checkpoint({**state, "running": running})


def _assembled(job: _Job, origin: Mapping[str, Any]) -> SteeringVector:
    """Unit directions with their units and scores."""
    directions: dict[str, torch.Tensor] = {}
    units: dict[str, Units] = {}
    scores: list[Score] = []
    notes: dict[str, Any] = {}
    for hookpoint, (own, *nulls) in job.learnt().items():
        halves = job.contrast.places[hookpoint]
        directions[hookpoint] = _unit(own["direction"])
        units[hookpoint] = _units(directions[hookpoint], halves, job.settings.pool)
        rows = _scores(
            directions[hookpoint], [_unit(null["direction"]) for null in nulls], halves, units[hookpoint], job
        )
        scores += [dataclasses.replace(row, metric=f"{row.metric} · {hookpoint}") for row in rows]
        notes[hookpoint] = own["notes"]
    return SteeringVector(
        directions=directions,
        units=units,
        pool=job.settings.pool,
        model_identity=job.contrast.model_identity,
        origin={**origin, "chosen": notes},
        scores=scores,
    )


def _unit(direction: list[float]) -> torch.Tensor:
    """Length 1, float32."""
    direction_D = torch.tensor(direction, dtype=torch.float64)
    if not bool(direction_D.norm() > 0) or not bool(direction_D.isfinite().all()):
        raise ConfigError("the method found no direction: true and false texts do not differ in what it looks at")
    return (direction_D / direction_D.norm()).float()


def _units(direction_D: torch.Tensor, halves: Halved, pool: Pool) -> Units:
    """Norm, maximum and threshold on the teaching half."""
    teach = halves.teach
    is_true_N = torch.from_numpy(teach.labels_T)[teach.text_N]
    largest = float((teach.x_ND[is_true_N] @ direction_D).max())
    return Units(
        norm=float(teach.x_ND.norm(dim=1).median()),
        maximum=largest if largest > 0 else None,
        threshold=best_threshold(teach.scores(direction_D, pool), teach.labels_T),
    )


def _scores(
    direction_D: torch.Tensor, nulls: list[torch.Tensor], halves: Halved, units: Units, job: _Job
) -> list[Score]:
    settings = job.settings
    rows = detection(
        direction_D,
        halves,
        threshold=units.threshold,
        pool=settings.pool,
        n_random=settings.n_random,
        seed=settings.seed,
    )
    areas = [report_area(null, halves, settings.pool) for null in nulls]
    return [*rows, shuffled_row(areas, seed=settings.seed)] if areas else rows
