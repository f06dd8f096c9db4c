"""`EndpointWriter`: a chat endpoint that speaks OpenAI's protocol, asked with the standard library's HTTP client.

Knows timeouts, retries with growing pauses, and bounds on sizes. The key comes from an environment variable, goes into
one header and nowhere else: not into manifests, messages or logs. Redirects are not followed.
"""

import http.client
import ipaddress
import json
import logging
import math
import os
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.writers.writer import Answer, Question, Verdict

log = logging.getLogger(__name__)

EXAMPLE = "http://localhost:8000/v1"
"""What an address looks like."""
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP codes that may pass."""
CHOICE_TOKENS = 4
"""Longest answer to a question with choices."""
TOP_LOG_PROBS = 20
"""Tokens whose probability is asked for, the most that the protocol allows."""
MAX_PAUSE_SECONDS = 60.0
MAX_ANSWER_BYTES = 1 << 20
"""Most bytes of one response; more is refused, not cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWriter:
    """A model behind an OpenAI-compatible address."""

    url: str
    """Address up to the version, such as `http://localhost:8000/v1`; `/chat/completions` is added."""
    name: str
    """Model name that the endpoint knows."""
    key_variable: str = ""
    """Environment variable that holds the key; empty sends none."""
    max_new_tokens: int = 256
    """Longest answer, in the endpoint's tokens."""
    temperature: float = 0.0
    """Temperature that is asked for."""
    timeout_seconds: float = 60.0
    """Longest wait for the connection, and for a whole response."""
    n_tries: int = 5
    """Attempts before a prompt is given up, with pauses that double."""
    pause_seconds: float = 1.0
    """First pause; a Retry-After of the endpoint is kept to, up to a minute."""

    def __post_init__(self) -> None:
        place = self._place()
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ConfigError(f"{self.url!r} is no address; expected one such as {EXAMPLE}")
        if place.username or place.password or place.query or place.fragment:
            raise ConfigError("the address holds a user, a query or a fragment; give a key by its variable only")
        if self.key_variable and place.scheme == "http" and not _is_local(place.hostname):
            raise ConfigError(f"a key would go to {place.hostname} unencrypted; use https, or leave out key_variable")
        if self.key_variable and not os.environ.get(self.key_variable):
            raise ConfigError(f"the environment variable {self.key_variable} is not set; set it to the endpoint's key")
        if min(self.max_new_tokens, self.n_tries) < 1 or min(self.timeout_seconds, self.pause_seconds) <= 0:
            raise ConfigError("max_new_tokens and n_tries are at least 1, timeout_seconds and pause_seconds above 0")

    @property
    def identity(self) -> dict[str, str | float]:
        """Address, model name and limits."""
        settings = {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature}
        return {"writer": "endpoint", "url": self.url, "name": self.name, **settings}

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """What is known of a model elsewhere: its name."""
        about = {"version": "", "sha256": "", "licence": "not stated", "origin": "a model behind an endpoint"}
        return ({"name": self.name, **about},)

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        """One request per prompt. Raises ModelError when the endpoint refuses, or does not answer in `n_tries`."""
        return [self._ask(prompt) for prompt in prompts]

    @property
    def fills(self) -> bool:
        """Chat endpoints tell probabilities of what they write, not of what is put into their mouths."""
        return False

    def choose(self, questions: Sequence[Question]) -> list[Verdict]:
        """One request per question with a single place: probabilities where the endpoint tells them, else its word.

        Raises ModelError as `write` does, ConfigError for a question with several places.
        """
        return [self._verdict(question) for question in questions]

    def _verdict(self, question: Question) -> Verdict:
        if question.pieces != ("",):
            raise ConfigError(f"{self._where()} cannot answer inside a given text; ask a local model")
        settings = {"max_tokens": CHOICE_TOKENS, "temperature": 0.0, "logprobs": True, "top_logprobs": TOP_LOG_PROBS}
        choice, (n_read, n_written) = self._choice(question.prompt, settings)
        p = _told(choice, question.choices) or _said(self._text(choice), question.choices)
        return Verdict(p=None if p is None else (p,), n_read=n_read, n_written=n_written)

    def _ask(self, prompt: str) -> Answer:
        choice, usage = self._choice(prompt, {"temperature": self.temperature, "max_tokens": self.max_new_tokens})
        return Answer(self._text(choice), choice.get("finish_reason") != "length", *usage)

    def _choice(self, prompt: str, settings: Mapping[str, Any]) -> tuple[Any, tuple[int, int]]:
        """The first choice of the response, and the tokens read and written for it (0 where that is not told)."""
        content = {"model": self.name, "messages": [{"role": "user", "content": prompt}], **settings}
        body = json.dumps(content).encode()
        problem = ""
        for attempt in range(self.n_tries):
            try:
                status, headers, data = self._post(body)
            except (OSError, http.client.HTTPException) as error:
                problem, pause = type(error).__name__, 0.0
            else:
                if status == 200:
                    return self._first(data)
                problem, pause = f"HTTP {status}", _seconds(headers.get("retry-after", ""))
                if status not in RETRIED:
                    raise ModelError(f"{self._where()} refuses the request: {problem}{_reason(data, self._key())}")
            if attempt + 1 < self.n_tries:
                wait = min(MAX_PAUSE_SECONDS, max(pause, self.pause_seconds * 2**attempt))
                log.warning("%s: %s, next try in %.1f s", self._where(), problem, wait)
                time.sleep(wait)
        raise ModelError(f"{self._where()} gave no answer in {self.n_tries} tries ({problem}); run again to go on")

    def _post(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Code, headers (lower case) and content of one response. Raises ModelError for one that is too large."""
        place = self._place()
        key = self._key()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        connection = _connection(place, self.timeout_seconds)
        try:
            deadline = time.monotonic() + self.timeout_seconds
            connection.request("POST", f"{place.path.rstrip('/')}/chat/completions", body=body, headers=headers)
            response = connection.getresponse()
            data = b""
            while block := response.read1(1 << 16):
                data += block
                if len(data) > MAX_ANSWER_BYTES:
                    raise ModelError(f"{self._where()} answers with more than {MAX_ANSWER_BYTES:,} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError
            return response.status, {name.lower(): value for name, value in response.getheaders()}, data
        finally:
            connection.close()

    def _key(self) -> str:
        return os.environ.get(self.key_variable, "") if self.key_variable else ""

    def _first(self, data: bytes) -> tuple[Any, tuple[int, int]]:
        try:
            response: Any = json.loads(data)
            choice = response["choices"][0]
            _ = choice["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError(f"{self._where()} answers in another form: expected choices with a message") from error
        usage = response.get("usage")
        told = usage if isinstance(usage, dict) else {}
        n_read, n_written = (told.get(name) for name in ("prompt_tokens", "completion_tokens"))
        return choice, (n_read if isinstance(n_read, int) else 0, n_written if isinstance(n_written, int) else 0)

    def _text(self, choice: Any) -> str:
        text = choice["message"]["content"]
        if text is not None and not isinstance(text, str):
            raise ModelError(f"{self._where()} answers with {type(text).__name__}, expected text")
        return text or ""

    def _place(self) -> SplitResult:
        try:
            place = urlsplit(self.url)
            _ = place.port
        except ValueError as error:
            raise ConfigError(f"the address cannot be read ({error}); expected one such as {EXAMPLE}") from error
        return place

    def _where(self) -> str:
        return f"the endpoint {self.url}"


def _connection(place: SplitResult, timeout: float) -> http.client.HTTPConnection:
    host = place.hostname or ""
    if place.scheme == "https":
        return http.client.HTTPSConnection(host, place.port, timeout=timeout, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, place.port, timeout=timeout)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _told(choice: Any, choices: Sequence[str]) -> tuple[float, ...] | None:
    """Probabilities of the choices at the first token that was written; None where none is among those told."""
    try:
        top = choice["logprobs"]["content"][0]["top_logprobs"]
        pairs = [(str(entry["token"]).strip(), math.exp(min(0.0, float(entry["logprob"])))) for entry in top]
    except (LookupError, TypeError, ValueError):
        return None
    p = tuple(sum(p for token, p in pairs if token == word) for word in choices)
    return p if sum(p) > 0 else None


def _said(text: str, choices: Sequence[str]) -> tuple[float, ...] | None:
    """1 for the choice that the answer begins with, 0 for the others; None for any other answer."""
    words = re.findall(r"\w+", text)
    return tuple(float(word == words[0]) for word in choices) if words and words[0] in choices else None


def _seconds(text: str) -> float:
    """What a Retry-After header asks, 0 when it is a date or nothing."""
    return float(text) if text.strip().isdigit() else 0.0


def _reason(data: bytes, key: str) -> str:
    """The endpoint's own words on an error, one short line; some repeat the key in it, this does not."""
    try:
        said: Any = json.loads(data)["error"]
        message = said["message"] if isinstance(said, dict) else said
    except (ValueError, LookupError, TypeError):
        return ""
    text = " ".join(str(message).split())
    return f" ({(text.replace(key, '…') if key else text)[:200]})"
