"""The training loop, one for every kind: batches in, a dictionary folder out.

    for each batch: loss, backward, projection, clip, Adam, constraints; now and then figures and a checkpoint

Knows neither the kinds' equations nor language models. The same settings and data on the same machine give the same
bytes, also after a kill at any moment and a second call.
"""

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bathyscope import artifacts, runtime
from bathyscope.artifacts import Draft, Recipe
from bathyscope.config import to_json
from bathyscope.dictionaries.checkpoint import METRICS, load_checkpoint, save_checkpoint
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary, write_dictionary
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.source import Batches, Source, Store, Stream, checked, open_source, read_ahead
from bathyscope.dictionaries.survey import survey
from bathyscope.errors import ConfigError, DeviceError
from bathyscope.progress import report


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
    """Highest learning rate; None takes the kind's own."""
    warm_up: float | None = None
    """Share of the run over which the learning rate rises; None takes the kind's own."""
    decay: float | None = None
    """Share of the run over which the learning rate falls to 0 at the end; None takes the kind's own."""
    clip_norm: float | None = None
    """Longest gradient, 0 never clips; None takes the kind's own."""
    seed: int = 0
    """Seed of the start weights and of the order of batches."""
    start_rows: int = 16_384
    """Activations read ahead to fix the scale and the biases at the start."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl; a diverging run is noticed at such a line."""
    checkpoint_seconds: float = 20.0
    """A checkpoint is written at the first line of metrics after so many seconds."""
    device: str = "cpu"
    """Where the arithmetic runs."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "start_rows", "log_every"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected a positive number")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}: expected 0 or a positive number")
        if self.n_tokens is not None and self.n_tokens <= 0:
            raise ConfigError(f"n_tokens is {self.n_tokens}: expected a positive number, or None to count epochs")

    def optimisation(self, kind: Kind, d_model: int) -> Optimisation:
        """The kind's own optimisation with what is given here in its place."""
        given = {name: getattr(self, name) for name in ("lr", "warm_up", "decay", "clip_norm")}
        return dataclasses.replace(
            kind.optimisation(d_model), **{name: v for name, v in given.items() if v is not None}
        )


def train(
    data: Store | Batches,
    kind: Kind,
    *,
    out: str | Path | None = None,
    hookpoint: str | None = None,
    settings: TrainSettings = TrainSettings(),
) -> Dictionary:
    """A dictionary of `kind` learnt from a store's training documents or from batches [N, D], also written to `out`.

    A finished `out` made with the same settings is read, not made again; an interrupted one is taken up where its last
    checkpoint left it. An iterable is taken in its own order; one that can be iterated only once needs
    `settings.n_tokens`, as does one that does not know its length, and resuming skips what was used before.
    Raises ConfigError for settings or batches that do not fit (with batch and row), no batches, or a run that diverges.
    """
    source = open_source(data, hookpoint=hookpoint, batch_size=settings.batch_size, seed=settings.seed)
    job = _job(source, kind, settings)
    if out is None:
        return _run(job, None)
    if not artifacts.is_finished(Path(out), job.recipe):
        runtime.require_disk(Path(out), job.n_bytes)
        with artifacts.draft(Path(out), job.recipe) as work:
            write_dictionary(_run(job, work), work.path)
    return load_dictionary(Path(out))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is to be done, checked."""

    source: Source
    kind: Kind
    settings: TrainSettings
    optimisation: Optimisation
    sample_ND: Tensor
    """The first activations, read ahead."""
    n_tokens: int
    """Tokens to train on in all."""

    @property
    def n_bytes(self) -> int:
        """Disk room of the weights and of two checkpoints (weights and Adam's two averages, old and new at once)."""
        return 4 * 2 * self.kind.n_features * self.sample_ND.shape[1] * (1 + 2 * 3)

    @property
    def recipe(self) -> Recipe:
        """What decides the folder's bytes; batches without a folder of their own are told apart by the sample."""
        config = {"kind": self.kind, "settings": self.settings, "hookpoint": self.source.hookpoint}
        if not self.source.parents:
            config["sample_sha256"] = hashlib.sha256(self.sample_ND.contiguous().numpy().tobytes()).hexdigest()
        return Recipe(
            kind="dictionary",
            config=config,
            seed=self.settings.seed,
            parents=self.source.parents,
            materials=tuple(self.source.materials),
        )


def _job(source: Source, kind: Kind, settings: TrainSettings) -> _Job:
    """Check everything that can be checked before work starts, and read the first activations."""
    _check_device(settings.device)
    sample_ND = read_ahead(source, settings.start_rows)
    n_tokens = settings.n_tokens or (source.n_rows or 0) * settings.epochs
    if not n_tokens:
        raise ConfigError("these batches do not say how many there are: set n_tokens in the settings")
    return _Job(
        source=source,
        kind=kind,
        settings=settings,
        optimisation=settings.optimisation(kind, sample_ND.shape[1]),
        sample_ND=sample_ND,
        n_tokens=n_tokens,
    )


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}; try cpu") from error


def _run(job: _Job, work: Draft | None) -> Dictionary:
    """Train from the start or the last checkpoint, then look at the data once with the finished dictionary."""
    settings = job.settings
    member = Member(
        job.kind,
        d_model=job.sample_ND.shape[1],
        optimisation=job.optimisation,
        seed=settings.seed,
        device=settings.device,
    )
    state = load_checkpoint(work, member) if work else None
    if state is None:
        member.start(job.sample_ND)
        state = {"step": 0, "tokens": 0, "position": None}
    _learn(job, member, state, work)
    dictionary = dataclasses.replace(
        member.fold(),
        hookpoint=job.source.hookpoint,
        model_identity=job.source.model_identity,
        kind=to_json(job.kind),
        training={"tokens": job.n_tokens, "scale": member.scale, "optimisation": to_json(job.optimisation)},
    )
    return survey(dictionary, job.source.once_more() or iter([job.sample_ND]))


def _learn(job: _Job, member: Member, state: dict[str, Any], work: Draft | None) -> None:
    """The loop. Nothing in it waits for the device but the reading of figures every `log_every` steps."""
    n_tokens, step, done = job.n_tokens, state["step"], state["tokens"]
    stream, saved_at, figures = job.source.open(state["position"]), time.monotonic(), dict[str, float]()
    while done < n_tokens:
        x_ND = _next(stream, job, step, done)[: n_tokens - done]
        member.step(x_ND, progress=(done + len(x_ND) / 2) / n_tokens)
        step, done = step + 1, done + len(x_ND)
        if step % job.settings.log_every == 0 or done == n_tokens:
            is_saved = work is not None and work.state() is not None
            kept = f"the last checkpoint is kept in {work.path}" if work and is_saved else "no checkpoint was due yet"
            member.refuse_divergence(step, kept=kept)
            figures = member.read()
            if work is not None:
                _log(work, {"step": step, "tokens": done, **figures})
                if time.monotonic() - saved_at >= job.settings.checkpoint_seconds or done == n_tokens:
                    save_checkpoint(work, member, {"step": step, "tokens": done, "position": stream.position()})
                    saved_at = time.monotonic()
        report("train", done, n_tokens, "tokens", **figures)


def _next(stream: Stream, job: _Job, step: int, done: int) -> Tensor:
    """The next batch, checked."""
    try:
        batch = next(stream)
    except StopIteration:
        raise ConfigError(
            f"the batches ended after {done:,} of {job.n_tokens:,} tokens: give more of them or a smaller n_tokens"
        ) from None
    return checked(batch, d_model=job.sample_ND.shape[1], number=step)


def _log(work: Draft, row: dict[str, Any]) -> None:
    with (work.path / METRICS).open("a") as file:
        file.write(json.dumps(row) + "\n")
