"""`Server`: a model behind an address, from the first connection to a clean end."""

import functools
import json
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.serving.access import Access, AccessSettings
from bathyscope.serving.desk import Desk
from bathyscope.serving.door import Door
from bathyscope.serving.limits import LimitSettings
from bathyscope.serving.refusal import Refused
from bathyscope.serving.shelf import Shelf
from bathyscope.steering.clause import Clause

log = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 5.0
"""Time for the last answers to reach their clients once the model has stopped."""


class Server:
    """Listens from its making; a `with` block ends it. Raises ConfigError for an open door or a port that is taken.

    `standing` are the clauses of requests that carry none of their own; raises what `steer` raises for them.
    """

    def __init__(
        self,
        model: Model,
        shelf: Shelf,
        *,
        standing: Sequence[Clause] = (),
        access: AccessSettings | None = None,
        limits: LimitSettings | None = None,
    ) -> None:
        settings, self._limits = access or AccessSettings(), limits or LimitSettings()
        self._desk = Desk(model, shelf, Access(settings), self._limits, standing)
        try:
            self._listener = _Listener(settings, functools.partial(Door, self._desk), self._limits.max_connections)
        except OSError as error:
            self._desk.scheduler.close(0.0)
            where = f"{settings.host} port {settings.port}"
            raise ConfigError(f"cannot listen on {where}: {error.strerror or error}; choose another --port") from error
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(0.1,), name="bathyscope-door", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the API, such as `http://127.0.0.1:8000/v1`."""
        host, port = self._listener.server_address[:2]
        return f"http://[{host!s}]:{port}/v1" if ":" in str(host) else f"http://{host!s}:{port}/v1"

    def close(self) -> None:
        """Running requests finish within the time that is set, others hear 503; then nothing listens any more."""
        self._desk.scheduler.close(self._limits.drain_seconds)
        self._desk.wait_until_idle(LAST_WORDS_SECONDS)
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Listener(ThreadingHTTPServer):
    """One thread for each connection, up to a number."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, settings: AccessSettings, door: Callable[..., Any], max_connections: int) -> None:
        self._places = threading.BoundedSemaphore(max_connections)
        self.address_family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        super().__init__((settings.host, settings.port), door)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, or 429 where there are too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with request:
            request.sendall(_FULL)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The connection, and its place afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke."""
        log.info("a connection broke")


def _full() -> bytes:
    """The whole response to a connection too many."""
    body = json.dumps(Refused("too many connections; try again later", status=429, code="connections").as_json())
    head = ("HTTP/1.1 429 Too Many Requests", "Retry-After: 1", "Connection: close", "Content-Type: application/json")
    return "\r\n".join((*head, f"Content-Length: {len(body)}", "", body)).encode()


_FULL = _full()
