"""`Remembered`: a writer or judge whose answers are kept on disk, so that nothing is asked twice.

One line of JSON an answer, found again by the sha256 of question, settings and the judge's identity. Lines are on the
disk before the next batch is asked: a judge that fails half way has its answers kept, and the same call goes on.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from bathyscope import runtime
from bathyscope.config import canonical
from bathyscope.errors import ArtifactError
from bathyscope.models.writers.writer import Answer, Judge, Question, Verdict

A = TypeVar("A", Answer, Verdict)


@dataclass(slots=True, kw_only=True)
class Cost:
    """What was asked so far, and what it took. Answers found on disk cost nothing."""

    n_asked: int = 0
    """Questions that the judge was asked."""
    n_remembered: int = 0
    """Questions whose answers lay on the disk."""
    n_unanswered: int = 0
    """Questions, asked or remembered, without an answer that can be used as a choice."""
    n_read: int = 0
    """Tokens read, as far as the judge tells."""
    n_written: int = 0
    """Tokens written, as far as the judge tells."""
    seconds: float = 0.0
    """Seconds of waiting for the judge."""


class Remembered:
    """`judge` with the answers in `file` (JSON lines, made if it is not there; a line that was cut off is dropped)."""

    def __init__(self, judge: Judge, file: Path, *, batch_size: int = 8) -> None:
        self.judge, self.cost = judge, Cost()
        self._file, self._batch_size = file, batch_size
        self._answers = _read(file)

    @property
    def identity(self) -> Mapping[str, str | float]:
        """That of the judge."""
        return self.judge.identity

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """Those of the judge."""
        return self.judge.materials

    @property
    def fills(self) -> bool:
        """As the judge."""
        return self.judge.fills

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        """As the judge; of equal prompts one is asked."""
        return self._ask(prompts, prompts, self.judge.write, _answer)

    def choose(self, questions: Sequence[Question]) -> list[Verdict]:
        """As the judge; of equal questions one is asked."""
        found = self._ask(questions, [asdict(question) for question in questions], self.judge.choose, _verdict)
        self.cost.n_unanswered += sum(verdict.p is None for verdict in found)
        return found

    def _ask(
        self,
        items: Sequence[Any],
        described: Sequence[Any],
        ask: Callable[[Sequence[Any]], list[A]],
        restore: Callable[[Mapping[str, Any]], A],
    ) -> list[A]:
        keys = [self._key(description) for description in described]
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in self._answers}
        self.cost.n_remembered += len(keys) - len(missing)
        pending = list(missing)
        for first in range(0, len(pending), self._batch_size):
            batch = pending[first : first + self._batch_size]
            started = time.monotonic()
            answers = ask([missing[key] for key in batch])
            self.cost.seconds += time.monotonic() - started
            self.cost.n_asked += len(batch)
            self.cost.n_read += sum(answer.n_read for answer in answers)
            self.cost.n_written += sum(answer.n_written for answer in answers)
            self._keep({key: asdict(answer) for key, answer in zip(batch, answers, strict=True)})
        return [restore(self._answers[key]) for key in keys]

    def _key(self, described: Any) -> str:
        return hashlib.sha256(canonical({"judge": dict(self.identity), "asked": described})).hexdigest()

    def _keep(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        self._answers.update(answers)
        lines = "".join(json.dumps({"key": key, **answer}) + "\n" for key, answer in answers.items())
        with runtime.disk_errors(self._file, doing="write"):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as stream:
                stream.write(lines.encode())
                stream.flush()
                os.fsync(stream.fileno())


def _read(file: Path) -> dict[str, Mapping[str, Any]]:
    """The answers in `file` by key; half a line at its end is cut away."""
    if not file.exists():
        return {}
    with runtime.disk_errors(file, doing="read"), file.open("rb+") as stream:
        data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            stream.truncate(len(whole))
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
        return {row.pop("key"): row for row in rows}
    except (ValueError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{file} is damaged and cannot be gone on with: delete it to ask again") from error


def _answer(row: Mapping[str, Any]) -> Answer:
    return Answer(**row)


def _verdict(row: Mapping[str, Any]) -> Verdict:
    p = row["p"]
    return Verdict(**{**row, "p": None if p is None else tuple(tuple(place) for place in p)})
