"""The training loop, one for every kind and for any number of dictionaries: batches in, dictionary folders out.

    for each batch: for each member: loss, backward, projection, clip, Adam, constraints; now and then a checkpoint

Each member keeps its own checkpoints. After a kill between two of them the members stand at different steps: then the
stream starts where the one furthest behind left it, and the others wait for it.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bathyscope import artifacts, runtime
from bathyscope.artifacts import Draft
from bathyscope.config import to_json
from bathyscope.dictionaries.ahead import Ahead
from bathyscope.dictionaries.checkpoint import METRICS, load_checkpoint, save_checkpoint
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary, write_dictionary
from bathyscope.dictionaries.end_to_end import connect
from bathyscope.dictionaries.job import Job, Task
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.room import require_memory
from bathyscope.dictionaries.source import checked, placed
from bathyscope.dictionaries.survey import Survey, survey
from bathyscope.errors import ConfigError
from bathyscope.progress import report

REST = 9.0
"""A checkpoint is followed by so many times its own duration without one: saving takes at most a tenth of the time."""


def learn(job: Job, tasks: Mapping[str, Task]) -> dict[str, Dictionary | ConfigError]:
    """The dictionary of each task, or why its training was stopped; those with `out` are written there.

    Finished folders are read, not made again; interrupted ones are taken up where their last checkpoint left them.
    """
    made = {name: task.out for name, task in tasks.items() if task.out and job.mesh.told(partial(is_made, job, task))}
    left = {name: task for name, task in tasks.items() if name not in made}
    require_memory(job, left)
    outs = [(task.out, task.kind) for task in left.values() if task.out and job.mesh.is_first]
    if outs:
        runtime.require_disk(outs[0][0], sum(job.disk_bytes(kind) for _, kind in outs))
    learners: dict[str, _Learner] = {}
    with contextlib.ExitStack() as folders:
        for name, task in left.items():
            learners[name] = folders.enter_context(_opened(job, task))
        if learners:
            _run(job, list(learners.values()))
            _finish(job, [learner for learner in learners.values() if learner.stopped is None])
    job.mesh.wait()  # for the first rank, which writes the folders
    found: dict[str, Dictionary | ConfigError] = {}
    for name, task in tasks.items():
        result = learners[name].result if name in learners else None
        found[name] = load_dictionary(task.out) if task.out and not isinstance(result, ConfigError) else _held(result)
    return found


def is_made(job: Job, task: Task) -> bool:
    """Whether the task's folder is finished. Raises ArtifactError when something else is there."""
    return task.out is not None and artifacts.is_finished(task.out, job.recipe(task))


def _held(result: Dictionary | ConfigError | None) -> Dictionary | ConfigError:
    assert result is not None, "every task without a folder ran"
    return result


class _Learner:
    """A member, how far it is, and where its figures and checkpoints go."""

    def __init__(self, job: Job, task: Task, work: Draft | None) -> None:
        """Take the member up at its last checkpoint, or start it."""
        self.task, self.work, self.d_model = task, work, job.d_model
        self.optimisation = task.settings.optimisation(task.kind, job.d_model, n_steps=job.n_steps)
        self.member = Member(
            task.kind,
            d_model=job.d_model,
            optimisation=self.optimisation,
            seed=task.settings.seed,
            device=job.settings.device,
        )
        connect(self.member.trainee, task.through)
        state = load_checkpoint(work, self.member, job.mesh)
        if state is None:
            self.member.start(job.sample_ND)
            if task.parent is not None:
                task.parent.note_difference(job.source.hookpoint, job.source.model_identity)
                self.member.adopt(task.parent.dictionary)
            self.member.join(job.mesh)
            state = {"step": 0, "tokens": 0, "position": None}
        self.step: int = state["step"]
        self.tokens: int = state["tokens"]
        self.position: Any = state["position"]
        self.figures = dict[str, float]()
        self.stopped: ConfigError | None = None
        self.dictionary: Dictionary | None = None

    @property
    def result(self) -> Dictionary | ConfigError | None:
        """What came of it."""
        return self.stopped or self.dictionary

    def read(self) -> None:
        """Write a line of metrics, or stop when the run diverged."""
        message = self.member.divergence(self.step)
        if message is not None:
            self.stopped = ConfigError(f"{message}; {self._kept()}")
            return
        self.figures = self.member.read()
        if self.work is not None:
            with (self.work.path / METRICS).open("a") as file:
                file.write(json.dumps({"step": self.step, "tokens": self.tokens, **self.figures}) + "\n")

    def save(self, position: Any) -> None:
        """Write a checkpoint."""
        if self.task.out is not None:
            progress = {"step": self.step, "tokens": self.tokens, "position": position, "d_model": self.d_model}
            save_checkpoint(self.work, self.member, progress)

    def _kept(self) -> str:
        state = self.work.state() if self.work else None
        if self.work is None or state is None:
            return "no checkpoint was due yet"
        return f"the last checkpoint is kept in {self.work.path} (after step {state['step']})"


@contextlib.contextmanager
def _opened(job: Job, task: Task) -> Iterator[_Learner]:
    """A learner with its draft, which becomes the folder unless it was stopped: then its last checkpoint stays."""
    if task.out is None or not job.mesh.is_first:
        yield _Learner(job, task, None)
        return
    learner = None
    try:
        with artifacts.draft(task.out, job.recipe(task)) as work:
            if not job.mesh.is_alone:
                work.log(stage="train", processes=job.mesh.n_ranks, feature_ranks=job.mesh.n_feature_ranks)
            learner = _Learner(job, task, work)
            yield learner
            if learner.stopped is not None:
                raise learner.stopped
            assert learner.dictionary is not None, "a learner that was not stopped is finished"
            write_dictionary(learner.dictionary, work.path)
    except ConfigError as error:
        if learner is None or error is not learner.stopped:
            raise


def _run(job: Job, learners: Sequence[_Learner]) -> None:
    """The loop. What it asks of a GPU is waited for when figures are read, every `log_every` steps.

    Only losses whose shapes depend on the data wait in between: of dead features, of a batch's largest, of thresholds.
    """
    behind = min(learners, key=lambda learner: learner.step)
    step, done, stream = behind.step, behind.tokens, Ahead(job.source.open(behind.position), job.settings.device)
    saving = _Rhythm(job.settings.checkpoint_seconds)
    while done < job.n_tokens and any(learner.stopped is None for learner in learners):
        _check_next(stream, job, step, done)
        batch_NW = stream.copy()[: job.n_tokens - done]
        own_NW = job.mesh.own_tokens(batch_NW)
        awake = [learner for learner in learners if learner.step == step and learner.stopped is None]
        progress = (done + len(batch_NW) / 2) / job.n_tokens
        step, done = step + 1, done + len(batch_NW)
        for learner in awake:
            learner.member.step(own_NW, progress=progress)
            learner.step, learner.tokens = step, done
        if step % job.settings.log_every == 0 or done == job.n_tokens:
            for learner in awake:
                learner.read()
            if job.mesh.told(saving.is_due) or done == job.n_tokens:
                with saving.timed():
                    for learner in (learner for learner in awake if learner.stopped is None):
                        learner.save(stream.position())
        report("train", done, job.n_tokens, "tokens", **_shown(learners))


class _Rhythm:
    """When the next checkpoints are due."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = time.monotonic() + seconds

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Save inside the block; `seconds` of 0 saves at every line, however long it takes."""
        start = time.monotonic()
        yield
        now = time.monotonic()
        self._due = now + (max(self._seconds, REST * (now - start)) if self._seconds else 0)


def _check_next(stream: Ahead, job: Job, step: int, done: int) -> None:
    """Read the next batch and check it."""
    try:
        batch = next(stream)
    except StopIteration:
        raise ConfigError(
            f"the batches ended after {done:,} of {job.n_tokens:,} tokens: give more of them or a smaller n_tokens"
        ) from None
    checked(batch, d_model=job.d_model, number=step, fault=job.source.fault)


def _shown(learners: Sequence[_Learner]) -> dict[str, float | int | str]:
    """Figures for those who watch: the only member's own, or the spread over all of them."""
    if len(learners) == 1:
        return {**learners[0].figures}
    going = [learner.figures for learner in learners if learner.stopped is None]
    explained = [figures["variance_explained"] for figures in going if figures]
    spread = {"variance_explained": f"{min(explained):.3f} to {max(explained):.3f}"} if explained else {}
    return {"dictionaries": len(going), **spread}


def _finish(job: Job, learners: Sequence[_Learner]) -> None:
    """Fold the weights, then look at the data once with all finished dictionaries."""
    for learner in learners:
        learner.member.leave()
    if not job.mesh.is_first:
        return
    found = [_folded(job, learner) for learner in learners]
    if found and job.settings.survey_rows:
        surveys = [
            Survey(dictionary, learner.member.trainee.example)
            for dictionary, learner in zip(found, learners, strict=True)
        ]
        batches = job.source.once_more() or iter([job.sample_ND])
        n_rows = min(job.settings.survey_rows, job.source.n_rows or job.n_tokens)
        found = survey(surveys, batches, n_rows=n_rows)
    for learner, dictionary in zip(learners, found, strict=True):
        learner.dictionary = dictionary


def _folded(job: Job, learner: _Learner) -> Dictionary:
    return dataclasses.replace(
        placed(learner.member.fold(), job.source),
        model_identity=job.source.model_identity,
        kind=to_json(learner.task.kind),
        training={
            "tokens": job.n_tokens,
            "scale": to_json(learner.member.scale),
            "optimisation": to_json(learner.optimisation),
        },
    )
