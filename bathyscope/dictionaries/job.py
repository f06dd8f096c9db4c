"""What a training run is to do, checked before it starts: the stream, how much of it, and what is to learn from it.

Knows nothing of how the steps are made.
"""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bathyscope.artifacts import Recipe
from bathyscope.dictionaries import size
from bathyscope.dictionaries.blocks import reads_previous, require_fit
from bathyscope.dictionaries.end_to_end import Through, recorded
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.parent import Parent
from bathyscope.dictionaries.ranks.division import require_even
from bathyscope.dictionaries.ranks.losses import whole_loss
from bathyscope.dictionaries.ranks.mesh import ALONE, Mesh
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.source import Batches, Hookpoint, Source, Store, StoreSource, open_source, read_ahead
from bathyscope.errors import ConfigError, DeviceError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a dictionary is trained; settings that depend on its kind are left to the kind unless given here."""

    batch_size: int = 1024
    """Tokens per step; an iterable's batches are taken as they are. Small batches learn more from few tokens."""
    epochs: int = 4
    """Passes over the training activations, when n_tokens is not given."""
    n_tokens: int | None = None
    """Tokens to train on in all, passes over the data as many as it takes."""
    lr: float | None = None
    """Highest learning rate; None takes the kind's own, which for most falls with √steps beyond 2,500."""
    warm_up: float | None = None
    """Share of the run over which the learning rate rises; None takes the kind's own."""
    decay: float | None = None
    """Share of the run over which the learning rate falls to 0 at the end; None takes the kind's own."""
    betas: tuple[float, float] | None = None
    """Adam's averaging rates; None takes the kind's own."""
    clip_norm: float | None = None
    """Longest gradient, 0 never clips; None takes the kind's own."""
    seed: int = 0
    """Seed of the start weights and of the order of batches."""
    order_seed: int | None = None
    """Seed of the order of batches where it is not `seed`: other start weights, the same batches."""
    start_rows: int = 16_384
    """Activations read ahead to fix the scale and the biases at the start."""
    survey_rows: int = 200_000
    """Activations looked at once more at the end, for largest codes and the figures of training; 0 leaves them out."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl; a diverging run is noticed at such a line."""
    checkpoint_seconds: float = 20.0
    """A checkpoint is written at the first line of metrics after so many seconds; large ones less often."""
    device: str = "cpu"
    """Where the arithmetic runs."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "start_rows", "log_every"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected a positive number")
        if self.survey_rows < 0:
            raise ConfigError(f"survey_rows is {self.survey_rows}: expected 0 or a positive number")
        for name, seed in (("seed", self.seed), ("order_seed", self.order_seed)):
            if seed is not None and seed < 0:
                raise ConfigError(f"{name} is {seed}: expected 0 or a positive number")
        if self.n_tokens is not None and self.n_tokens <= 0:
            raise ConfigError(f"n_tokens is {self.n_tokens}: expected a positive number, or None to count epochs")

    @property
    def seed_of_order(self) -> int:
        """The seed that decides the order of batches."""
        return self.seed if self.order_seed is None else self.order_seed

    def optimisation(self, kind: Kind, d_model: int, *, n_steps: int = 0) -> Optimisation:
        """The kind's own optimisation for so many steps, with what is given here in its place."""
        given = {name: getattr(self, name) for name in ("lr", "warm_up", "decay", "betas", "clip_norm")}
        own = kind.optimisation(d_model).over(n_steps)
        return dataclasses.replace(own, **{name: v for name, v in given.items() if v is not None})


DEFAULTS = TrainSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One dictionary that is to be made."""

    kind: Kind
    """What is to be learnt."""
    settings: TrainSettings
    """How; what concerns the stream is the same for all tasks of a job."""
    out: Path | None
    """Its folder, or None to keep it in memory only."""
    through: Through | None = None
    """What asks the model, for a kind that learns through it."""
    parent: Parent | None = None
    """The dictionary that it goes on from; None starts afresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stream of batches and how much of it is used."""

    source: Source
    """Where the batches come from."""
    settings: TrainSettings
    """Batch size, device and rhythm, the same for every dictionary."""
    sample_ND: Tensor
    """The first activations, read ahead."""
    batch_rows: int
    """Tokens of the first batch."""
    n_tokens: int
    """Tokens to train on in all."""
    mesh: Mesh = ALONE
    """The processes that train together. Decides no recipe: another mesh goes on with what this one left."""

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.sample_ND.shape[1]

    @property
    def n_steps(self) -> int:
        """Steps to train for in all, if every batch has as many tokens as the first."""
        return math.ceil(self.n_tokens / self.batch_rows)

    def recipe(self, task: Task) -> Recipe:
        """What decides a folder's bytes; batches without a folder of their own are told apart by the sample."""
        config = {"kind": task.kind, "settings": task.settings, "hookpoint": self.source.hookpoint}
        if not self.source.parents:
            config["sample_sha256"] = hashlib.sha256(self.sample_ND.contiguous().numpy().tobytes()).hexdigest()
        if task.through is not None:
            config["through"] = recorded(task.through)
        parents = dict(self.source.parents)
        if task.parent is not None:
            config["start_from"] = task.parent.dictionary.digest
            parents |= {} if task.parent.path is None else {"dictionary": task.parent.path}
        return Recipe(
            kind="dictionary",
            config=config,
            seed=task.settings.seed,
            parents=parents,
            materials=tuple(self.source.materials),
        )

    def disk_bytes(self, kind: Kind) -> int:
        """Disk room of the weights and of two checkpoints (weights and Adam's two averages, old and new at once)."""
        return size.disk_bytes(kind.n_features, self.d_model)

    def memory_bytes(self, kind: Kind) -> int:
        """Memory of one dictionary in training: weights and Adam's two averages."""
        return size.kept_bytes(kind.n_features, self.d_model)

    def weight_bytes(self, kind: Kind) -> int:
        """Encoder and decoder in float32."""
        return size.weight_bytes(kind.n_features, self.d_model)


def open_job(
    data: Store | Batches,
    kinds: Sequence[Kind],
    *,
    hookpoint: Hookpoint,
    settings: TrainSettings,
    mesh: Mesh = ALONE,
) -> Job:
    """Check everything about the stream that can be checked before work starts, and read the first activations."""
    source = open_source(
        data,
        hookpoint=hookpoint,
        batch_size=settings.batch_size,
        seed=settings.seed_of_order,
        previous=reads_previous(kinds),
    )
    require_device(settings.device)
    ahead = read_ahead(source, settings.start_rows)
    for kind in kinds:
        require_fit(kind, source.blocks, ahead.sample_ND.shape[1])
    n_tokens = settings.n_tokens or (source.n_rows or 0) * settings.epochs
    if not n_tokens:
        raise ConfigError("these batches do not say how many there are: set n_tokens in the settings")
    job = Job(
        source=source,
        settings=settings,
        sample_ND=ahead.sample_ND,
        batch_rows=ahead.batch_rows,
        n_tokens=n_tokens,
        mesh=mesh,
    )
    if not mesh.is_alone:
        _require_common_work(job, kinds)
    return job


def _require_common_work(job: Job, kinds: Sequence[Kind]) -> None:
    """Raise ConfigError for kinds that one process must train, and for batches too small to be split over the ranks."""
    for kind in kinds:
        whole_loss(kind)
        require_even(kind, job.mesh)
    if isinstance(job.source, StoreSource) and job.source.n_rows:
        seen, size = min(job.source.n_rows, job.n_tokens), job.settings.batch_size
        for n_last in {seen % size, job.n_tokens % job.source.n_rows % size} - {0}:
            job.mesh.own_tokens(job.sample_ND[:1].expand(n_last, -1))


def require_device(device: str) -> None:
    """Raise DeviceError naming a device that is not there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}; try cpu") from error
