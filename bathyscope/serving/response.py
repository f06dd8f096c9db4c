"""Events of rows as OpenAI's responses: whole, or as the chunks of a stream."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bathyscope.features.tokens import TokenTable
from bathyscope.serving.request import Asked
from bathyscope.serving.row import Ended, Said, Told

Kind = Literal["completion", "chat"]


@dataclass(slots=True)
class _Choice:
    text: str = ""
    told: list[Told] = field(default_factory=list)
    reason: str | None = None
    n_tokens: int = 0


class Response:
    """One response as it grows."""

    def __init__(self, kind: Kind, asked: Asked, *, model: str, table: TokenTable) -> None:
        self._kind, self._asked, self._model, self._table = kind, asked, model, table
        self._choices = [_Choice() for _ in asked.rows]
        self._id = f"{'cmpl' if kind == 'completion' else 'chatcmpl'}-{uuid.uuid4().hex}"
        self._created = int(time.time())

    @property
    def is_whole(self) -> bool:
        """Whether every row has ended."""
        return all(choice.reason is not None for choice in self._choices)

    @property
    def n_answered(self) -> int:
        """Tokens answered by the rows that have ended."""
        return sum(choice.n_tokens for choice in self._choices)

    def add(self, number: int, event: Said | Ended) -> None:
        """Take an event in."""
        choice = self._choices[number]
        if isinstance(event, Ended):
            choice.reason, choice.n_tokens = event.reason, event.n_tokens
        else:
            choice.text += event.text
            choice.told += event.told

    def chunk(self, number: int, event: Said | Ended) -> dict[str, Any]:
        """An event as a chunk of a stream."""
        if isinstance(event, Ended):
            return self._chunk([self._piece(number, "", (), event.reason)])
        return self._chunk([self._piece(number, event.text, event.told, None)])

    def opening(self) -> list[dict[str, Any]]:
        """Chunks before anything is said: in a chat, who speaks."""
        if self._kind == "completion":
            return []
        delta = {"role": "assistant", "content": ""}
        return [
            self._chunk([{"index": number, "delta": delta, "logprobs": None, "finish_reason": None}])
            for number in range(len(self._choices))
        ]

    def closing(self) -> list[dict[str, Any]]:
        """Chunks behind everything: the token counts, where they are wanted."""
        return [{**self._chunk([]), "usage": self._usage()}] if self._asked.tells_usage else []

    def whole(self) -> dict[str, Any]:
        """The response that is not streamed."""
        choices = [self._entire(number, choice) for number, choice in enumerate(self._choices)]
        name = "text_completion" if self._kind == "completion" else "chat.completion"
        return {**self._head(name), "choices": choices, "usage": self._usage()}

    def _head(self, name: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": name,
            "created": self._created,
            "model": self._model,
            "seed": self._asked.seed,
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        name = "text_completion" if self._kind == "completion" else "chat.completion.chunk"
        return {**self._head(name), "choices": choices}

    def _piece(self, number: int, text: str, told: Sequence[Told], reason: str | None) -> dict[str, Any]:
        head: dict[str, Any] = {"index": number, "logprobs": self._log_probs(told) if told else None}
        body = {"text": text} if self._kind == "completion" else {"delta": {"content": text} if text else {}}
        return {**head, **body, "finish_reason": reason}

    def _entire(self, number: int, choice: _Choice) -> dict[str, Any]:
        wants = self._asked.rows[number].n_top is not None
        head: dict[str, Any] = {"index": number, "logprobs": self._log_probs(choice.told) if wants else None}
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        body = {"text": choice.text} if self._kind == "completion" else {"message": message}
        return {**head, **body, "finish_reason": choice.reason}

    def _log_probs(self, told: Sequence[Told]) -> dict[str, Any]:
        if self._kind == "chat":
            return {"content": [self._chat_token(each) for each in told], "refusal": None}
        return {
            "tokens": [self._string(each.token) for each in told],
            "token_logprobs": [each.log_p for each in told],
            "top_logprobs": [self._named(each) for each in told],
            "text_offset": [each.offset for each in told],
        }

    def _named(self, told: Told) -> dict[str, float] | None:
        """String → log-probability; of two tokens with one string the likelier is told."""
        if told.log_p is None:
            return None
        named: dict[str, float] = {}
        for token, log_p in told.top:
            string = self._string(token)
            named[string] = max(log_p, named.get(string, log_p))
        return named

    def _chat_token(self, told: Told) -> dict[str, Any]:
        top = [self._entry(token, log_p) for token, log_p in told.top[: self._asked.rows[0].n_top]]
        return {**self._entry(told.token, told.log_p), "top_logprobs": top}

    def _entry(self, token: int, log_p: float | None) -> dict[str, Any]:
        return {"token": self._string(token), "logprob": log_p, "bytes": list(self._table.bytes_of(token))}

    def _string(self, token: int) -> str:
        return self._table.strings([token])[0]

    def _usage(self) -> dict[str, int]:
        n_read, n_written = self._asked.n_prompt_tokens, self.n_answered
        return {"prompt_tokens": n_read, "completion_tokens": n_written, "total_tokens": n_read + n_written}
