"""The training loop, one for every kind: batches in, a dictionary folder out.

    for each batch: loss, backward, projection, clip, Adam, constraints; figures every few steps; a checkpoint now and then

Knows neither the kinds' equations nor language models. The same settings and data on the same machine give the same
bytes, also after a kill at any moment and a second call.
"""

import dataclasses
import hashlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bathyscope import artifacts
from bathyscope.artifacts import Draft, Recipe
from bathyscope.config import to_json
from bathyscope.dictionaries.checkpoint import METRICS, load_checkpoint, save_checkpoint
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary, write_dictionary
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.stream import IterableStream, Store, Stream, checked, n_rows
from bathyscope.dictionaries.survey import SURVEY_ROWS, survey
from bathyscope.errors import ConfigError
from bathyscope.progress import report

Batches = Iterable[Tensor]
"""Any iterable of [N, D] tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a dictionary is trained; settings that depend on its kind are left to the kind unless given here."""

    batch_size: int = 4096
    """Tokens per step (a store's batches; an iterable's batches are taken as they are)."""
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
        if self.n_tokens is not None and self.n_tokens <= 0:
            raise ConfigError(f"n_tokens is {self.n_tokens}: expected a positive number, or None to count epochs")

    def optimisation(self, kind: Kind) -> Optimisation:
        """The kind's own optimisation with what is given here in its place."""
        given = {name: getattr(self, name) for name in ("lr", "warm_up", "decay", "clip_norm")}
        return dataclasses.replace(kind.optimisation, **{name: v for name, v in given.items() if v is not None})


def train(
    data: Store | Batches,
    kind: Kind,
    *,
    out: str | Path | None = None,
    hookpoint: str | None = None,
    settings: TrainSettings = TrainSettings(),
) -> Dictionary:
    """A dictionary of `kind` learnt from a store's training documents or from batches [N, D]; written to `out` if given.

    A finished `out` made with the same settings is read, not made again; an interrupted one is taken up where its last
    checkpoint left it. An iterable is taken in its own order; one that can be iterated only once needs
    `settings.n_tokens`, as does one that does not know its length, and resuming skips what was used before.
    Raises ConfigError for settings or batches that do not fit (with batch and row), no batches, or a run that diverges.
    """
    job = _job(data, kind, hookpoint, settings)
    if out is None:
        return _run(job, None)
    recipe = _recipe(job)
    if not artifacts.is_finished(Path(out), recipe):
        with artifacts.draft(Path(out), recipe) as work:
            write_dictionary(_run(job, work), work.path)
    return load_dictionary(Path(out))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is to be done, checked."""

    data: Store | Batches
    kind: Kind
    settings: TrainSettings
    optimisation: Optimisation
    hookpoint: str | None
    n_tokens: int
    sample_ND: Tensor
    """The first activations, read ahead."""
    head: list[Tensor]
    """Batches read ahead from an iterator that cannot begin again."""

    def stream(self, position: Any = None) -> Stream:
        """Batches to train on, from the start or after `position`."""
        if isinstance(self.data, Store):
            seed, size = self.settings.seed, self.settings.batch_size
            return self.data.stream(batch_size=size, seed=seed, hookpoint=self.hookpoint, position=position)
        if position is None and self.head:
            return IterableStream(itertools.chain(self.head, self.data))
        return IterableStream(self.data, skip=position or 0)

    def survey_batches(self) -> Iterator[Tensor]:
        """One pass over the training data, or the read-ahead sample when the data cannot be read twice."""
        if isinstance(self.data, Store):
            stream = self.stream()
            n_left = min(SURVEY_ROWS, len(self.data.rows("train")))
            while n_left > 0:
                batch = next(stream)
                n_left -= len(batch)
                yield batch
        elif iter(self.data) is self.data:
            yield self.sample_ND
        else:
            yield from self.data


def _job(data: Store | Batches, kind: Kind, hookpoint: str | None, settings: TrainSettings) -> _Job:
    """Check everything that can be checked before work starts, and read the first activations."""
    optimisation = settings.optimisation(kind)
    head: list[Tensor] = []
    if isinstance(data, Store):
        hookpoint = data.hookpoint(hookpoint)
        n_pass = len(data.rows("train"))
        if n_pass == 0:
            raise ConfigError(f"{data.path} holds no training activations: collect more text or hold out less")
        size, seed = settings.batch_size, settings.seed
        sample = _read_ahead(data.stream(batch_size=size, seed=seed, hookpoint=hookpoint), min(settings.start_rows, n_pass))
    else:
        n_pass = n_rows(data)
        source = iter(data)
        sample = _read_ahead(source, settings.start_rows)
        head = sample if source is data else []
    n_tokens = settings.n_tokens or (n_pass and n_pass * settings.epochs)
    if not n_tokens:
        raise ConfigError("these batches do not say how many there are: set n_tokens in the settings")
    return _Job(
        data=data,
        kind=kind,
        settings=settings,
        optimisation=optimisation,
        hookpoint=hookpoint,
        n_tokens=n_tokens,
        sample_ND=torch.cat([batch.to("cpu", torch.float32) for batch in sample])[: settings.start_rows],
        head=head,
    )


def _read_ahead(batches: Any, n_rows: int) -> list[Tensor]:
    """Checked batches until `n_rows` activations are there or the data ends."""
    found: list[Tensor] = []
    while sum(len(batch) for batch in found) < n_rows:
        try:
            batch = next(batches)
        except StopIteration:
            break
        found.append(checked(batch, d_model=found[0].shape[1] if found else None, number=len(found)))
    if not found:
        raise ConfigError("there are no batches to train on: give at least one [N, D] tensor of activations")
    return found


def _recipe(job: _Job) -> Recipe:
    config: dict[str, Any] = {"kind": job.kind, "settings": job.settings, "hookpoint": job.hookpoint}
    if isinstance(job.data, Store):
        parents, materials = {"activations": job.data.path}, job.data.materials
    else:  # other data than before must not pass for the same run
        config["sample_sha256"] = hashlib.sha256(job.sample_ND.contiguous().numpy().tobytes()).hexdigest()
        parents, materials = {}, ()
    return Recipe(kind="dictionary", config=config, seed=job.settings.seed, parents=parents, materials=materials)


def _run(job: _Job, work: Draft | None) -> Dictionary:
    """Train from the start or the last checkpoint, then look at the data once with the finished dictionary."""
    d_model, settings = job.sample_ND.shape[1], job.settings
    options = {"optimisation": job.optimisation, "seed": settings.seed, "device": settings.device}
    member = Member(job.kind, d_model=d_model, **options)
    state = load_checkpoint(work, member) if work else None
    if state is None:
        member.start(job.sample_ND)
        state = {"step": 0, "tokens": 0, "position": None}
    _learn(job, member, state, work)
    is_store = isinstance(job.data, Store)
    dictionary = dataclasses.replace(
        member.fold(),
        hookpoint=job.hookpoint,
        model_identity=job.data.model_identity if is_store else None,
        kind=to_json(job.kind),
        training={"tokens": job.n_tokens, "scale": member.scale, "optimisation": to_json(job.optimisation)},
    )
    return survey(dictionary, job.survey_batches())


def _learn(job: _Job, member: Member, state: dict[str, Any], work: Draft | None) -> None:
    """The loop. Nothing in it waits for the device but the reading of figures every `log_every` steps."""
    n_tokens, step, done = job.n_tokens, state["step"], state["tokens"]
    stream, saved_at, figures = job.stream(state["position"]), time.monotonic(), dict[str, float]()
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
