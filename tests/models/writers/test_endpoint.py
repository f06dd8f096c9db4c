"""The endpoint writer against a server on this machine: what is sent, retried, bounded, refused, and never told."""

import json
import logging
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.writers import endpoint as module
from bathyscope.models.writers.endpoint import EndpointWriter
from bathyscope.models.writers.writer import Answer, Judge, Question

Reply = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]


def said(text: str | None, reason: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]}).encode()


class Server:
    """A chat endpoint that answers with the replies in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [lambda body: (200, {}, said(body["messages"][0]["content"].upper()))]
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append((self.path, dict(self.headers), body))
                reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
                code, headers, data = reply(body)
                self.send_response(code)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    thread = threading.Thread(target=one.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    one.http.shutdown()
    thread.join()
    one.http.server_close()


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """Pauses that are asked for, none of them made."""
    found: list[float] = []
    monkeypatch.setattr(module.time, "sleep", found.append)
    return found


def writer(server: Server, **changes: Any) -> EndpointWriter:
    return EndpointWriter(url=server.url, name="any-model", timeout_seconds=5.0, **changes)


def test_prompts_are_sent_as_chats_and_answered_in_order(server):
    found = writer(server, max_new_tokens=7, temperature=0.5).write(["one", "two"])
    assert found == [Answer("ONE", True), Answer("TWO", True)]
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions" and "Authorization" not in headers
    assert body == {
        "model": "any-model",
        "messages": [{"role": "user", "content": "one"}],
        "temperature": 0.5,
        "max_tokens": 7,
    }


def test_an_answer_cut_by_the_limit_and_one_without_content_are_told(server):
    server.replies = [lambda _: (200, {}, said("half", "length")), lambda _: (200, {}, said(None))]
    assert writer(server).write(["a", "b"]) == [Answer("half", False), Answer("", True)]


def test_what_may_pass_is_tried_again_with_pauses_that_double(server, pauses):
    busy, hurt = (lambda _: (429, {"Retry-After": "9"}, b"")), (lambda _: (503, {}, b""))
    server.replies = [hurt, hurt, busy, server.replies[0]]
    assert writer(server).write(["a"]) == [Answer("A", True)]
    assert pauses == [1.0, 2.0, 9.0] and len(server.asked) == 4


def test_a_long_wait_that_is_asked_for_is_bounded(server, pauses):
    server.replies = [lambda _: (429, {"Retry-After": "99999"}, b""), server.replies[0]]
    writer(server).write(["a"])
    assert pauses == [60.0]


def test_an_endpoint_that_stays_away_is_given_up_with_the_reason(server, pauses):
    server.replies = [lambda _: (500, {}, b"")]
    with pytest.raises(ModelError, match="gave no answer in 3 tries \\(HTTP 500\\); run again to go on"):
        writer(server, n_tries=3).write(["a"])
    assert pauses == [1.0, 2.0]


def test_nobody_there_is_tried_and_given_up(pauses):
    away = EndpointWriter(url="http://127.0.0.1:9", name="m", n_tries=2, timeout_seconds=1.0)
    with pytest.raises(ModelError, match="no answer in 2 tries \\(ConnectionRefusedError\\)"):
        away.write(["a"])


def test_an_endpoint_that_is_silent_is_given_up_after_the_timeout(server, pauses):
    gate = threading.Event()

    def never(_: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        gate.wait(5)
        return 200, {}, b""

    server.replies = [never]
    try:
        with pytest.raises(ModelError, match="TimeoutError"):
            EndpointWriter(url=server.url, name="m", n_tries=1, timeout_seconds=0.1).write(["a"])
    finally:
        gate.set()


def test_a_refusal_is_not_tried_again(server, pauses):
    server.replies = [lambda _: (404, {}, json.dumps({"error": {"message": "no such\nmodel"}}).encode())]
    with pytest.raises(ModelError, match="refuses the request: HTTP 404 \\(no such model\\)"):
        writer(server).write(["a"])
    assert len(server.asked) == 1 and pauses == []


def test_a_redirect_is_not_followed(server):
    server.replies = [lambda _: (307, {"Location": "http://example.com/"}, b"")]
    with pytest.raises(ModelError, match="HTTP 307"):
        writer(server).write(["a"])


def test_a_response_that_is_too_large_is_refused(server, monkeypatch):
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1000)
    server.replies = [lambda _: (200, {}, b"x" * 5000)]
    with pytest.raises(ModelError, match="more than 1,000 bytes"):
        writer(server).write(["a"])


@pytest.mark.parametrize("data", [b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": 5}}]}'])
def test_an_answer_of_another_form_is_refused(server, data):
    server.replies = [lambda _: (200, {}, data)]
    with pytest.raises(ModelError, match=r"answers (in another form|with int)"):
        writer(server).write(["a"])


def test_the_key_goes_into_one_header_and_nowhere_else(server, monkeypatch, caplog, pauses):
    monkeypatch.setenv("SOME_KEY", "tell-nobody")
    keyed = writer(server, key_variable="SOME_KEY", n_tries=2)
    server.replies = [
        lambda _: (503, {}, b""),
        lambda _: (401, {}, json.dumps({"error": {"message": "bad key tell-nobody"}}).encode()),
    ]
    with caplog.at_level(logging.DEBUG), pytest.raises(ModelError, match="bad key …") as refused:
        keyed.write(["a"])
    assert server.asked[0][1]["Authorization"] == "Bearer tell-nobody"
    told = [str(refused.value), repr(keyed), json.dumps(keyed.identity), *(r.getMessage() for r in caplog.records)]
    assert not any("tell-nobody" in words for words in told)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"url": "localhost:8000"}, "is no address"),
        ({"url": "ftp://x/v1"}, "is no address"),
        ({"url": "http://x:port/v1"}, "cannot be read"),
        ({"url": "http://user:word@localhost/v1"}, "give a key by its variable only"),
        ({"url": "http://example.com/v1", "key_variable": "SOME_KEY"}, "unencrypted; use https"),
        ({"url": "https://example.com/v1", "key_variable": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
        ({"url": "http://localhost/v1", "n_tries": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, line, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "tell-nobody")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match=line) as refused:
        EndpointWriter(name="m", **settings)
    assert "word" not in str(refused.value)


def told(pairs: list[tuple[str, float]], text: str = "Yes") -> bytes:
    """A response with the log-probabilities of its first token."""
    top = [{"token": token, "logprob": math.log(p)} for token, p in pairs]
    choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": [{"top_logprobs": top}]}}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 2}}).encode()


ASKED = Question(prompt="Is it a ship?", choices=("Yes", "No"))


def test_probabilities_of_choices_are_those_that_the_endpoint_tells(server):
    server.replies = [lambda _: (200, {}, told([("Yes", 0.5), (" Yes", 0.25), ("No", 0.125), ("Maybe", 0.1)]))]
    (verdict,) = writer(server).choose([ASKED])
    assert verdict.p is not None and verdict.p[0] == pytest.approx((0.75, 0.125))
    assert (verdict.n_read, verdict.n_written) == (11, 2)
    body = server.asked[0][2]
    assert body["logprobs"] is True and body["top_logprobs"] == 20 and body["temperature"] == 0.0


@pytest.mark.parametrize(
    ("text", "p"), [("No.", ((0.0, 1.0),)), ("**Yes**, it is", ((1.0, 0.0),)), ("Perhaps", None), ("", None)]
)
def test_without_probabilities_the_first_word_counts_and_another_word_is_no_answer(server, text, p):
    server.replies = [lambda _: (200, {}, said(text))]
    assert writer(server).choose([ASKED])[0].p == p


def test_probabilities_of_other_words_alone_are_no_answer(server):
    server.replies = [lambda _: (200, {}, told([("Well", 0.9)], text="Well"))]
    assert writer(server).choose([ASKED])[0].p is None


def test_a_question_inside_a_given_text_is_refused(server):
    with pytest.raises(ConfigError, match="ask a local model"):
        writer(server).choose([Question(prompt="a", choices=("0", "9"), pieces=("a:", "b:"))])
    assert server.asked == [] and isinstance(writer(server), Judge) and not writer(server).fills
