"""Many requests at once: each gets its own answer, and what is too much is refused."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from serving.asking import CLAMP, serving
from steering.worlds import random_dictionary
from tiny import tiny_model

from bathyscope.serving import answer
from bathyscope.serving.answer import Speaker
from bathyscope.serving.limits import LimitSettings
from bathyscope.serving.refusal import Refused
from bathyscope.serving.row import Ended, Row, Said
from bathyscope.serving.scheduler import Scheduler, Ticket
from bathyscope.steering.clause import Clause
from bathyscope.steering.operations.clamp import Clamp


def row(text: str = "hello", **changes: Any) -> Row:
    settings = {"max_new_tokens": 6, "temperature": 0.0, "top_p": 1.0, "seed": 0, "number": 0}
    return Row(**{"tokens": tuple(text.encode()), **settings, **changes})


def outcome(ticket: Ticket) -> tuple[str, Ended | Refused]:
    """The text of a ticket's only row, and how it ended."""
    text = ""
    while True:
        _, event = ticket.events.get(timeout=60)
        if not isinstance(event, Said):
            return text, event
        text += event.text


@dataclass(frozen=True, slots=True)
class Slow:
    """A model that answers when it is told to."""

    go: threading.Event = field(default_factory=threading.Event)
    chosen: threading.Event = field(default_factory=threading.Event)
    queued: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def set(self) -> None:
        """Let every token be chosen."""
        self.go.set()

    def wait_until_queued(self) -> None:
        """One request more is in the queue, or past it."""
        assert self.queued.acquire(timeout=60)

    def wait_until_running(self) -> None:
        """A row is about to have its token chosen."""
        assert self.chosen.wait(timeout=60)


@pytest.fixture
def slow(monkeypatch) -> Slow:
    """Every token is chosen only when this is set."""
    slow, choose, submit = Slow(), answer.choose, Scheduler.submit

    def waiting(*arguments):
        slow.chosen.set()
        slow.go.wait(timeout=60)
        return choose(*arguments)

    def submitting(*arguments):
        ticket = submit(*arguments)
        slow.queued.release()
        return ticket

    monkeypatch.setattr(answer, "choose", waiting)
    monkeypatch.setattr(Scheduler, "submit", submitting)
    return slow


def request(number: int) -> dict[str, Any]:
    """A request of its own: feature, strength, prompt, temperature and seed differ."""
    strength = {"value": 1 + number % 5, "unit": "observed maximum"}
    clause = {**CLAMP, "features": [number % 48], "strength": strength}
    settings = {"max_tokens": 4 + number % 3, "temperature": 0 if number % 2 else 0.9, "seed": number}
    return {
        "content": "hello sea"[: 3 + number % 4],
        **settings,
        "steer": [clause] if number % 7 else [],
        "logprobs": True,
    }


def test_every_answer_under_load_is_that_of_its_own_single_run():
    model, n = tiny_model(), 60
    with serving(model, limits=LimitSettings(batch_size=1)) as client:
        alone = [client.chat(**request(number)).body["choices"] for number in range(n)]
    with serving(model) as client, ThreadPoolExecutor(16) as clients:
        together = list(clients.map(lambda number: client.chat(**request(number)).body["choices"], range(n)))
    texts = [[choice["message"]["content"] for choice in choices] for choices in together]
    assert texts == [[choice["message"]["content"] for choice in choices] for choices in alone]
    assert len({text for (text,) in texts}) > n // 2, "steers and seeds show"
    for one, other in zip(alone, together, strict=True):
        pairs = zip(one[0]["logprobs"]["content"], other[0]["logprobs"]["content"], strict=True)
        assert all(a["token"] == b["token"] and a["logprob"] == pytest.approx(b["logprob"], abs=1e-4) for a, b in pairs)


def test_rows_wait_together_and_are_answered_in_batches(slow):
    speaker, sizes = Speaker(tiny_model()), list[int]()
    answered = speaker.answer
    speaker.answer = lambda rows, **hears: (sizes.append(len(rows)), answered(rows, **hears))
    scheduler = Scheduler(speaker, LimitSettings(batch_size=4))
    tickets = [scheduler.submit([row("first")])]
    while not sizes:
        time.sleep(0.01)
    tickets += [scheduler.submit([row(text)]) for text in ("abcd", "xy", "efgh", "ijkl", "zw", "mnop", "qrst")]
    slow.set()
    assert all(isinstance(outcome(ticket)[1], Ended) for ticket in tickets)
    scheduler.close(5.0)
    assert sizes == [1, 4, 2, 1], "four of one length, two of another, and the fifth of the first"


@dataclass(frozen=True)
class _Nowhere:
    """An operation that ruins the activation, or fails."""

    fails: bool
    hookpoint = "layers.1"
    model_identity = None

    def delta(self, x_ND: torch.Tensor) -> torch.Tensor:
        if self.fails and len(x_ND) > 1:
            raise RuntimeError("out of memory")
        return torch.full_like(x_ND, torch.nan)


@pytest.mark.parametrize(("fails", "code"), [(False, "not_a_number"), (True, "model_failed")])
def test_a_row_that_fails_does_not_fail_its_batch_mates(fails, code):
    model = tiny_model()
    scheduler = Scheduler(Speaker(model), LimitSettings())
    good = row(clauses=(Clause(operation=Clamp(random_dictionary(model), (5,), 4.0)),))
    alone, _ = outcome(scheduler.submit([good]))
    bad = row(clauses=(Clause(operation=_Nowhere(fails)),))
    ticket = scheduler.submit([good, bad])
    found: dict[int, list[Any]] = {0: [], 1: []}
    while not all(events and not isinstance(events[-1], Said) for events in found.values()):
        number, event = ticket.events.get(timeout=60)
        found[number].append(event)
    scheduler.close(5.0)
    assert "".join(event.text for event in found[0][:-1]) == alone
    assert found[1][-1].code == code


def test_more_than_may_wait_is_told_to_come_back(slow):
    with (
        serving(tiny_model(), limits=LimitSettings(max_waiting=2, batch_size=1)) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        replies = [pool.submit(client.chat, max_tokens=2, temperature=0) for _ in range(8)]
        while sum(reply.done() for reply in replies) < 5:
            time.sleep(0.01)
        slow.set()
        done = [reply.result() for reply in replies]
    refused = [reply for reply in done if reply.status == 429]
    assert 5 <= len(refused) <= 6, "one runs, two wait"
    assert all(reply.headers["retry-after"] == "1" for reply in refused)
    assert all(reply.status in (200, 429) for reply in done)


def test_a_connection_too_many_is_told_to_come_back():
    with serving(tiny_model(), limits=LimitSettings(max_connections=1)) as client:
        place = urlsplit(client.url)
        with socket.create_connection((place.hostname, place.port)):
            reply = client.send("GET", "/health")
        assert reply.status == 429
        assert reply.headers["retry-after"] == "1"
        until = time.monotonic() + 60
        while client.send("GET", "/health").status == 429:
            assert time.monotonic() < until, "the place is free again"
            time.sleep(0.01)


def test_an_answer_that_takes_too_long_is_ended(slow):
    with serving(tiny_model(), limits=LimitSettings(request_seconds=0.2)) as client, ThreadPoolExecutor(1) as pool:
        late = pool.submit(client.chat, max_tokens=50, temperature=0)
        slow.wait_until_queued()
        time.sleep(0.4)
        slow.set()
        assert late.result().status == 504
        assert client.send("GET", "/health").status == 200


def test_a_closing_server_finishes_what_runs_and_refuses_what_waits(slow):
    with ThreadPoolExecutor(3) as pool:
        with serving(tiny_model(), limits=LimitSettings(batch_size=1)) as client:
            running = pool.submit(client.chat, max_tokens=3, temperature=0)
            slow.wait_until_queued()
            slow.wait_until_running()
            waiting = pool.submit(client.chat, max_tokens=3, temperature=0)
            slow.wait_until_queued()
            threading.Timer(1.5, slow.set).start()
        assert running.result().status == 200
        assert (waiting.result().status, waiting.result().headers["retry-after"]) == (503, "5")
        with pytest.raises(ConnectionRefusedError):
            client.send("GET", "/health")


def test_a_closing_server_gives_up_what_does_not_finish(slow):
    with ThreadPoolExecutor(1) as pool:
        with serving(tiny_model(), limits=LimitSettings(drain_seconds=0.1)) as client:
            stream = pool.submit(client.chat, max_tokens=90, temperature=0, stream=True)
            slow.wait_until_running()
            threading.Timer(2, slow.set).start()
        reply = stream.result()
        assert b'"code": "closing"' in reply.data
        assert b"[DONE]" not in reply.data
