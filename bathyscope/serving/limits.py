"""Limits: how much one request, and all of them together, may ask."""

from dataclasses import dataclass

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much may be asked."""

    max_body_bytes: int = 4_000_000
    """Largest request."""
    max_tokens: int = 2048
    """Most tokens of one row, prompt and answer together."""
    max_rows: int = 128
    """Most rows of one request: prompts times answers for each."""
    max_waiting: int = 1024
    """Rows that may wait; further requests are told to come back later (429)."""
    max_connections: int = 256
    """Open connections; further ones are told to come back later (429)."""
    batch_size: int = 1
    """Rows that are answered together. More are faster, and rounding may then choose another token now and then."""
    request_seconds: float = 600.0
    """Longest time from a request's arrival to its last token."""
    idle_seconds: float = 30.0
    """Longest silence of a client while it sends a request or takes an answer."""
    drain_seconds: float = 20.0
    """Time that running requests have to finish once the server is told to stop."""

    def __post_init__(self) -> None:
        counts = (self.max_body_bytes, self.max_tokens, self.max_rows, self.max_waiting, self.max_connections)
        if min(*counts, self.batch_size) < 1:
            raise ConfigError("limits on bytes, tokens, rows, connections and the batch size are at least 1")
        if min(self.request_seconds, self.idle_seconds) <= 0 or self.drain_seconds < 0:
            raise ConfigError("request_seconds and idle_seconds are above 0, drain_seconds is not below it")
