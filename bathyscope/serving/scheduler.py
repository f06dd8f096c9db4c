"""`Scheduler`: rows of many requests, answered in batches by the one thread that runs the model.

Who asked first is answered first; whoever waits and is of the same shape comes along, up to the batch size. A row's
answer is told as it comes and does not wait for its batch mates.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from bathyscope.serving.answer import Speaker
from bathyscope.serving.limits import LimitSettings
from bathyscope.serving.refusal import Refused
from bathyscope.serving.row import Event, Row

log = logging.getLogger(__name__)

MAX_LOGITS = 1 << 27
"""Most logits of whole prompts in one batch (half a gigabyte of float32)."""


@dataclass(slots=True, eq=False)
class Ticket:
    """The rows of one request, and where their events arrive."""

    rows: Sequence[Row]
    deadline: float
    """`time.monotonic()` after which nothing more is computed for it."""
    events: SimpleQueue[tuple[int, Event]] = field(default_factory=SimpleQueue)
    """(number of the row, event)."""
    is_left: bool = False
    """Whether the client has gone."""


@dataclass(slots=True, eq=False)
class _Waiting:
    ticket: Ticket
    number: int
    has_begun: bool = False

    @property
    def row(self) -> Row:
        return self.ticket.rows[self.number]

    def tell(self, event: Event) -> None:
        self.has_begun = True
        self.ticket.events.put((self.number, event))


class Scheduler:
    """The queue and its thread."""

    def __init__(self, speaker: Speaker, limits: LimitSettings) -> None:
        self._speaker, self._limits = speaker, limits
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._gives_up = False
        self._thread = threading.Thread(target=self._work, name="bathyscope-model", daemon=True)
        self._thread.start()

    def submit(self, rows: Sequence[Row]) -> Ticket:
        """Put the rows of one request into the queue. Raises Refused when it is full or closing."""
        ticket = Ticket(rows, deadline=time.monotonic() + self._limits.request_seconds)
        with self._changed:
            if self._is_closing:
                raise _closing()
            if len(self._waiting) + len(rows) > self._limits.max_waiting:
                raise Refused(
                    f"{len(self._waiting)} rows are waiting, at most {self._limits.max_waiting} may; try again later",
                    status=429,
                    code="queue_full",
                    retry_after_seconds=1,
                )
            self._waiting.extend(_Waiting(ticket, number) for number in range(len(rows)))
            self._changed.notify()
        return ticket

    def close(self, drain_seconds: float) -> None:
        """Refuse what waits, let what runs finish within the time, and end the thread."""
        with self._changed:
            self._is_closing = True
            waiting, self._waiting = list(self._waiting), deque()
            self._changed.notify()
        for each in waiting:
            each.tell(_closing())
        self._thread.join(drain_seconds)
        self._gives_up = True  # read between two steps of the model
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closing:
                    self._changed.wait()
                if self._is_closing:
                    return
                batch = self._next_batch()
            self._run(batch)

    def _next_batch(self) -> list[_Waiting]:
        """The row that has waited longest, and others of its shape that fit beside it, in the order of arrival."""
        first = self._waiting[0].row
        batch: list[_Waiting] = []
        for each in self._waiting:
            if _shape(each.row) == _shape(first):
                batch.append(each)
            if len(batch) == self._most(first):
                break
        taken = {id(each) for each in batch}
        self._waiting = deque(each for each in self._waiting if id(each) not in taken)
        return batch

    def _most(self, row: Row) -> int:
        if not row.reads_prompt:
            return self._limits.batch_size
        fits = MAX_LOGITS // (len(row.tokens) * self._speaker.model.n_vocabulary)
        return max(1, min(self._limits.batch_size, fits))

    def _run(self, batch: list[_Waiting]) -> None:
        going = [each for each in batch if not self._refused(each)]
        if not going:
            return
        try:
            self._speaker.answer(
                [each.row for each in going],
                tell=lambda number, event: going[number].tell(event),
                refusal=lambda number: self._reason(going[number].ticket),
            )
        except Exception:
            log.exception("a batch of %d failed", len(going))
            self._failed(going)

    def _failed(self, batch: list[_Waiting]) -> None:
        """One row must not fail another: where nothing has been told yet, each is tried by itself."""
        if len(batch) > 1 and not any(each.has_begun for each in batch):
            for each in batch:
                self._run([each])
            return
        for each in batch:
            each.tell(Refused("the model failed; the server's log says how", status=500, code="model_failed"))

    def _refused(self, each: _Waiting) -> bool:
        reason = self._reason(each.ticket)
        if reason is not None:
            each.tell(reason)
        return reason is not None

    def _reason(self, ticket: Ticket) -> Refused | None:
        """Why no more is computed for a request; None while it is wanted."""
        if self._gives_up:
            return _closing()
        if ticket.is_left:
            return Refused("the client has gone", status=499, code="client_gone")
        if time.monotonic() > ticket.deadline:
            seconds = self._limits.request_seconds
            return Refused(f"the answer took longer than {seconds:g} seconds", status=504, code="timeout")
        return None


def _shape(row: Row) -> tuple[bool, int]:
    """What rows of one batch have in common. Padding would change the order of sums, and with it an answer's last
    digits: rows of one batch are equally long."""
    return row.reads_prompt, len(row.tokens)


def _closing() -> Refused:
    return Refused("the server is closing", status=503, code="closing", retry_after_seconds=5)
