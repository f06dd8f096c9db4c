"""Requests with steers of their own, one by one and all at once: is every answer that of its own single run?

.venv/bin/python benchmarks/serve_load.py --model smollm2 --dictionary runs/mine/dictionary --requests 1000

Prints a table: answers whose tokens are equal, the largest difference of a log-probability, tokens a second one by one
and at once. Exits 1 when an answer differs.
"""

import http.client
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tyro

from bathyscope.models.load import load_model
from bathyscope.serving.access import AccessSettings
from bathyscope.serving.limits import LimitSettings
from bathyscope.serving.server import Server
from bathyscope.serving.shelf import Shelf, open_shelf

PROMPTS = (
    "What should I cook tonight?",
    "Describe a place that you like.",
    "Tell me about the sea.",
    "Why is the sky blue?",
    "Write a short letter to a friend.",
    "What makes a good teacher?",
)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to ask."""

    dictionary: str
    """Dictionary whose features the requests hold."""
    model: str = "smollm2"
    """Model that it belongs to."""
    requests: int = 1000
    """Requests, each with features, strength, prompt, temperature and seed of its own."""
    clients: int = 32
    """Clients that ask at once."""
    max_tokens: int = 12
    """Longest answer."""
    batch_size: int = 8
    """Rows that the server answers together."""
    seed: int = 0
    """Seed of the requests."""


def main(load: Load) -> int:
    """Ask, compare, print."""
    model = load_model(load.model)
    shelf = open_shelf(model, dictionaries=[load.dictionary])
    asked = requests(load, shelf)
    limits = {"max_waiting": load.requests, "max_connections": 2 * load.clients}
    with Server(model, shelf, access=AccessSettings(port=0), limits=LimitSettings(batch_size=1, **limits)) as server:
        alone, seconds_alone = timed(server.url, model.name, asked, n_clients=1)
    with Server(
        model, shelf, access=AccessSettings(port=0), limits=LimitSettings(batch_size=load.batch_size, **limits)
    ) as server:
        together, seconds_together = timed(server.url, model.name, asked, n_clients=load.clients)
    n_equal = sum(tokens(one) == tokens(other) for one, other in zip(alone, together, strict=True))
    pairs = [
        pair for one, other in zip(alone, together, strict=True) for pair in zip(told(one), told(other), strict=False)
    ]
    n_tokens = sum(len(told(one)) for one in alone)
    print(f"| requests | {load.requests:,} |\n|---|---|")
    print(f"| answers with the tokens of their single run | {n_equal:,} |")
    print(f"| different answers among them | {len({tuple(tokens(one)) for one in alone}):,} |")
    print(f"| largest difference of a log-probability | {max(abs(a - b) for a, b in pairs):.1e} |")
    print(f"| tokens a second, one by one | {n_tokens / seconds_alone:.1f} |")
    at_once = f"{load.clients} clients, batches of up to {load.batch_size}"
    print(f"| tokens a second, {at_once} | {n_tokens / seconds_together:.1f} |")
    return int(n_equal < load.requests)


def requests(load: Load, shelf: Shelf) -> list[dict[str, Any]]:
    """The bodies: one in eight is plain, half are greedy."""
    ((_, dictionary),) = shelf.dictionaries.items()
    observed = dictionary.max_activation
    usable = np.arange(dictionary.n_features) if observed is None else np.flatnonzero(observed.numpy() > 0)
    random = np.random.default_rng(load.seed)
    bodies: list[dict[str, Any]] = []
    for number in range(load.requests):
        features = random.choice(usable, size=int(random.integers(1, 4)), replace=False).tolist()
        strength = {"value": float(random.uniform(0.5, 3)), "unit": "observed maximum"}
        clause = {"operation": "clamp", "features": features, "strength": strength}
        message = {"role": "user", "content": PROMPTS[int(random.integers(len(PROMPTS)))]}
        settings = {"max_tokens": load.max_tokens, "temperature": float(number % 2), "seed": number, "logprobs": True}
        bodies.append({"messages": [message], **settings, "steer": [clause] if number % 8 else []})
    return bodies


def timed(url: str, model: str, bodies: Sequence[dict[str, Any]], *, n_clients: int) -> tuple[list[Any], float]:
    """The choice of every response, and the seconds for all."""
    started = time.monotonic()
    with ThreadPoolExecutor(n_clients) as clients:
        answers = list(clients.map(lambda body: _ask(url, {"model": model, **body}), bodies))
    return answers, time.monotonic() - started


def _ask(url: str, body: dict[str, Any]) -> Any:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=3600)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"{place.path}/chat/completions", json.dumps(body).encode(), headers)
        response = connection.getresponse()
        data = json.loads(response.read())
        if response.status != 200:
            sys.exit(f"error: HTTP {response.status}: {data}")
        return data["choices"][0]
    finally:
        connection.close()


def tokens(choice: Any) -> list[str]:
    """The tokens of an answer."""
    return [entry["token"] for entry in choice["logprobs"]["content"]]


def told(choice: Any) -> list[float]:
    """Their log-probabilities."""
    return [entry["logprob"] for entry in choice["logprobs"]["content"]]


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Load)))
