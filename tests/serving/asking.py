"""A small server in this process, and the plainest of clients."""

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL

from bathyscope.models.model import Model
from bathyscope.serving.access import AccessSettings
from bathyscope.serving.limits import LimitSettings
from bathyscope.serving.server import Server
from bathyscope.serving.shelf import Shelf, Vector, fill_shelf
from bathyscope.steering.clause import Clause

CLAMP: dict[str, Any] = {
    "operation": "clamp",
    "features": [5],
    "strength": {"value": 4, "unit": "observed maximum"},
}


def tiny_shelf(model: Model) -> Shelf:
    """A random dictionary called `dic` and a vector called `up`, both at `layers.1`."""
    up = Vector(direction_D=torch.arange(1.0, D_MODEL + 1), hookpoint="layers.1")
    return fill_shelf(model, dictionaries=[("dic", random_dictionary(model))], vectors=[("up", up)])


@dataclass(frozen=True, slots=True)
class Reply:
    """One response."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.data)

    @property
    def param(self) -> str | None:
        return self.body["error"]["param"]

    @property
    def chunks(self) -> list[Any]:
        """The events of a stream, which ends as streams end."""
        events = self.data.decode().removesuffix("\n\n").split("\n\n")
        assert all(event.startswith("data: ") for event in events)
        assert events[-1] == "data: [DONE]"
        return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one server."""

    url: str
    model: str

    def send(self, method: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=600)
        try:
            given = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(method, path, body=data, headers={**given, **(headers or {})})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named, response.read())
        finally:
            connection.close()

    def post(self, path: str, **body: Any) -> Reply:
        return self.send("POST", path, json.dumps({"model": self.model, **body}).encode())

    def complete(self, prompt: Any = "hello", **body: Any) -> Reply:
        return self.post("/v1/completions", prompt=prompt, **body)

    def chat(self, content: Any = "hello", **body: Any) -> Reply:
        return self.post("/v1/chat/completions", messages=[{"role": "user", "content": content}], **body)


@contextmanager
def serving(
    model: Model,
    *,
    shelf: Shelf | None = None,
    standing: Sequence[Clause] = (),
    limits: LimitSettings | None = None,
    access: AccessSettings | None = None,
) -> Iterator[Client]:
    """A server on a free port, closed afterwards."""
    place = access or AccessSettings(port=0)
    with Server(model, shelf or tiny_shelf(model), standing=standing, access=place, limits=limits) as server:
        yield Client(server.url, model.name)
