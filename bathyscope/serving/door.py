"""The HTTP side: one request to one response, on the standard library's server.

Knows methods, paths, headers and sizes. What a body means is told by `request`, how an answer comes about by
`scheduler`. Logs one line for each request, without a word of what was asked or answered.
"""

import contextlib
import json
import logging
import select
import socket
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from queue import Empty
from typing import Any

from bathyscope.serving.desk import Desk
from bathyscope.serving.fields import Fields, parse
from bathyscope.serving.refusal import Refused
from bathyscope.serving.request import Asked
from bathyscope.serving.response import Kind, Response
from bathyscope.serving.row import Ended, Said
from bathyscope.serving.scheduler import Ticket

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often a waiting request looks whether its client is still there."""
DISCARD_BYTES, DISCARD_SECONDS = 1 << 26, 1.0
"""Most that is read of a request that has been refused, and the longest wait for more of it."""
PATHS: dict[str, str] = {
    "/health": "GET",
    "/v1/models": "GET",
    "/v1/completions": "POST",
    "/v1/chat/completions": "POST",
}
ANSWERED: dict[str, Kind] = {"/v1/completions": "completion", "/v1/chat/completions": "chat"}


class Door(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "bathyscope", ""
    disable_nagle_algorithm = True

    def __init__(self, desk: Desk, *connection: Any) -> None:
        self.desk = desk
        self._status, self._note, self._is_body_read = 0, "", True
        super().__init__(*connection)

    def setup(self) -> None:
        """Silence of a client is bounded."""
        super().setup()
        self.connection.settimeout(self.desk.limits.idle_seconds)

    def do_GET(self) -> None:
        """Health and models."""
        self._serve()

    def do_POST(self) -> None:
        """Completions."""
        self._serve()

    do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_PUT = do_POST  # HEAD is GET without the body

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses by itself (no HTTP, a line too long, an unknown method), as JSON, too."""
        self.close_connection = True
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._refuse(Refused(message or status.phrase, status=int(status), code="bad_request"))

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002  (the standard library's name)
        """In place of what the standard library prints of idle connections and malformed requests, text included."""
        log.debug("a connection was idle or did not speak HTTP")

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Nothing here: `_serve` logs when the answer is done."""

    def _serve(self) -> None:
        started, self._status, self._note = time.monotonic(), 0, ""
        has_body = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        self._is_body_read = self.command != "POST" and not has_body
        path = _path(self.path)
        try:
            with self.desk.attending():
                self._answer(path)
        except Refused as refused:
            self._refuse(refused)
        except (ConnectionError, TimeoutError):
            self._status, self.close_connection = 499, True
        except Exception:
            log.exception("a request failed")
            self._refuse(Refused("the server failed; its log says how", status=500, code="internal"))
        self.close_connection = self.close_connection or not self._is_body_read  # its rest is no request
        shown = path if path in PATHS else "(another path)"
        seconds = time.monotonic() - started
        log.info("%s %s %d %.3f s%s", self.command, shown, self._status, seconds, self._note)

    def _answer(self, path: str) -> None:
        self.desk.access.check(self.headers, needs_token=path != "/health")
        method = PATHS.get(path)
        if method is None:
            raise Refused(f"there is nothing here; paths are {', '.join(PATHS)}", status=404, code="not_found")
        if method != ("GET" if self.command == "HEAD" else self.command):
            raise Refused(f"{path} takes {method}", status=405, code="method_not_allowed")
        if path in ANSWERED:
            self._complete(ANSWERED[path])
        else:
            self._send(self.desk.health() if path == "/health" else self.desk.models())

    def _complete(self, kind: Kind) -> None:
        body = parse(self._body())
        reader = self.desk.reader
        read: Callable[[Fields], Asked] = reader.completion if kind == "completion" else reader.chat
        asked = read(body)
        n_clauses = len(asked.rows[0].clauses)
        self._note = f", {len(asked.rows)} rows, {asked.n_prompt_tokens} tokens read, {n_clauses} clauses"
        response = Response(kind, asked, model=self.desk.speaker.model.name, table=self.desk.speaker.table)
        ticket = self.desk.scheduler.submit(asked.rows)
        try:
            if asked.is_streamed:
                self._stream(response, ticket)
            else:
                for _ in self._events(response, ticket):
                    pass
                self._send(response.whole())
        finally:
            ticket.is_left = True
            self._note += f", {response.n_answered} written"

    def _events(self, response: Response, ticket: Ticket) -> Iterator[tuple[int, Said | Ended]]:
        """Rows and their events as they come, until all have ended. Raises Refused with the first that is refused."""
        while not response.is_whole:
            try:
                number, event = ticket.events.get(timeout=POLL_SECONDS)
            except Empty:
                if self._is_gone():
                    raise ConnectionError from None
                continue
            if not isinstance(event, Said | Ended):
                raise event
            response.add(number, event)
            yield number, event

    def _stream(self, response: Response, ticket: Ticket) -> None:
        """Server-sent events. The status is sent with the first of them, so a refusal before it is an ordinary one."""
        if self.request_version == "HTTP/1.0":
            raise Refused("a stream needs HTTP/1.1", param="stream", status=505, code="http_version")
        events = self._events(response, ticket)
        first = response.chunk(*next(events))
        self._head(
            200, {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "Transfer-Encoding": "chunked"}
        )
        for chunk in (*response.opening(), first):
            self._push(json.dumps(chunk, allow_nan=False))
        try:
            for number, event in events:
                self._push(json.dumps(response.chunk(number, event), allow_nan=False))
        except Refused as refused:  # the status has gone out
            self._note += f", {refused.code}"
            self._push(json.dumps(refused.as_json()))
            self.close_connection = True
        else:
            for chunk in response.closing():
                self._push(json.dumps(chunk))
            self._push("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _push(self, text: str) -> None:
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _body(self) -> bytes:
        """What the request holds. Raises Refused for another type, no length, or one that is too large."""
        if (self.headers.get_content_type() or "") != "application/json":
            raise Refused("Content-Type must be application/json", status=415, code="unsupported_type")
        lengths = self.headers.get_all("Content-Length") or []
        if "Transfer-Encoding" in self.headers or len(lengths) != 1 or not lengths[0].isdecimal():
            raise Refused("the request needs one Content-Length and no Transfer-Encoding", status=411, code="no_length")
        most = self.desk.limits.max_body_bytes
        if len(lengths[0]) > 15 or int(lengths[0]) > most:
            raise Refused(f"the request is larger than {most:,} bytes", status=413, code="too_large")
        deadline, parts, left = time.monotonic() + self.desk.limits.idle_seconds, list[bytes](), int(lengths[0])
        while left:
            part = self.rfile.read1(left)
            if not part or time.monotonic() > deadline:
                raise ConnectionError
            parts.append(part)
            left -= len(part)
        self._is_body_read = True
        return b"".join(parts)

    def _refuse(self, refused: Refused) -> None:
        """The error as JSON; where the body has not been read, the connection ends with it."""
        self.close_connection = self.close_connection or not self._is_body_read
        self._note += f", {refused.code}"
        seconds = refused.retry_after_seconds
        headers = {"Retry-After": str(seconds)} if seconds is not None else {}
        headers |= {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
        headers |= {"Allow": PATHS.get(_path(self.path), "GET, POST")} if refused.status == 405 else {}
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._send(refused.as_json(), status=refused.status, headers=headers)
            if not self._is_body_read:
                self._discard()

    def _discard(self) -> None:
        """Read what the client is still sending, within bounds: it would not see an answer that comes before."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(DISCARD_SECONDS)
        left = DISCARD_BYTES
        while left > 0 and (part := self.rfile.read1(1 << 16)):
            left -= len(part)

    def _send(self, content: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content, allow_nan=False).encode()
        self._head(status, {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status
        self.send_response(status)
        for name, value in {**headers, "X-Content-Type-Options": "nosniff"}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _is_gone(self) -> bool:
        """Whether the client has closed its side."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True


def _path(target: str) -> str:
    """The target of a request without its query."""
    return target.partition("?")[0]
