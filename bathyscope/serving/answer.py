"""`answer`: a batch of rows to their events, each row steered by its own clauses.

Knows the model and one batch; knows nothing of requests, threads or HTTP.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ModelError
from bathyscope.features.tokens import TokenTable, owned_characters
from bathyscope.models.decoding import Draw, choose, next_logits, seeded
from bathyscope.models.model import Model
from bathyscope.models.prompts import special_tokens, stop_tokens
from bathyscope.serving.refusal import Refused
from bathyscope.serving.row import Ended, Event, Row, Said, Told
from bathyscope.serving.wording import Wording
from bathyscope.steering.steer import steer_rows

LEAST_LOG_P = -9999.0
"""What is told of a token that cannot come: JSON has no infinity."""
PLACES_AT_ONCE = 64
"""Places of a prompt whose log-probabilities are computed together: V float64 numbers each."""


class Speaker:
    """A model with what is needed to put its tokens into text."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.table = TokenTable.of(model.tokenizer)
        self.special = special_tokens(model)
        self.stops = stop_tokens(model)

    def piece(self, token: int) -> bytes:
        """What a token adds to the text: nothing when it is special."""
        return b"" if token in self.special else self.table.bytes_of(token)

    def answer(
        self,
        rows: Sequence[Row],
        *,
        tell: Callable[[int, Event], None],
        refusal: Callable[[int], Refused | None],
    ) -> None:
        """Answer every row; `tell(number, event)` hears each piece as soon as it is known.

        Between steps `refusal(number)` may say why a row is given up. Rows in which logits are not numbers are refused;
        the others go on.
        """
        is_steered = any(row.clauses for row in rows)
        steering = steer_rows(self.model, [row.clauses for row in rows]) if is_steered else nullcontext()
        with steering:
            self._answer(rows, tell, refusal)

    def _answer(
        self, rows: Sequence[Row], tell: Callable[[int, Event], None], refusal: Callable[[int], Refused | None]
    ) -> None:
        whole = any(row.reads_prompt for row in rows)
        steps = next_logits(self.model, [row.tokens for row in rows], whole_prompt=whole)
        logits_BTV = next(steps)
        voices = {number: _Voice(self, row) for number, row in enumerate(rows)}
        for number, voice in list(voices.items()):
            for event in voice.begin(logits_BTV[number]):
                tell(number, event)
            if rows[number].max_new_tokens == 0:
                tell(number, Ended("length", 0))
                del voices[number]
        while voices:
            fed: list[int | None] = [None] * len(rows)
            for number, voice in list(voices.items()):
                given_up = refusal(number)
                events = [given_up] if given_up is not None else voice.step(logits_BTV[number, -1])
                for event in events:
                    tell(number, event)
                if all(isinstance(event, Said) for event in events):
                    fed[number] = voice.last
                else:
                    del voices[number]
            if voices:
                logits_BTV = steps.send(fed)


class _Voice:
    """One row on its way from logits to events."""

    def __init__(self, speaker: Speaker, row: Row) -> None:
        self.speaker, self.row = speaker, row
        self.draw = Draw(temperature=row.temperature, top_p=row.top_p, generator=seeded(row.seed, row.number))
        self.wording = Wording(row.stops)
        self.n_prompt_characters = 0
        self.n_tokens = 0
        self.last: int | None = None
        self.held: list[Told] = []

    def begin(self, logits_TV: Float[Tensor, "T V"]) -> list[Event]:
        """The prompt, where it is to be told too."""
        if not self.row.echo:
            return []
        tokens = self.row.tokens
        characters = [_legible(text) for text in owned_characters([self.speaker.piece(token) for token in tokens])]
        told: list[Told] = []
        if self.row.n_top is not None:
            told.append(Told(tokens[0], None, (), 0))
            places_SV = logits_TV[len(logits_TV) - len(tokens) : -1]
            offset = len(characters[0])
            for first in range(0, len(places_SV), PLACES_AT_ONCE):
                for log_p_V in places_SV[first : first + PLACES_AT_ONCE].double().log_softmax(-1):
                    told.append(_told(log_p_V, tokens[len(told)], self.row.n_top, offset))
                    offset += len(characters[len(told) - 1])
        text = "".join(characters)
        self.n_prompt_characters = len(text)
        return [Said(text, tuple(told))]

    def step(self, logits_V: Float[Tensor, " V"]) -> list[Event]:
        """The next token, and the end when it is the last."""
        try:
            token = choose(self.speaker.model, logits_V, self.draw)
        except ModelError as error:
            return [Refused(str(error), param="steer" if self.row.clauses else None, code="not_a_number")]
        self.last, self.n_tokens = token, self.n_tokens + 1
        if self.row.n_top is not None:
            offset = self.n_prompt_characters + self.wording.n_characters
            self.held.append(_told(logits_V.double().log_softmax(-1), token, self.row.n_top, offset))
        text = self.wording.push(self.speaker.piece(token))
        is_end = token in self.speaker.stops
        if not (is_end or self.wording.is_stopped or self.n_tokens == self.row.max_new_tokens):
            return self._say(text, is_last=False)
        text += self.wording.finish()
        is_stop = is_end or self.wording.is_stopped
        return [*self._say(text, is_last=True), Ended("stop" if is_stop else "length", self.n_tokens)]

    def _say(self, text: str, *, is_last: bool) -> list[Event]:
        """The text with the tokens that begin in what has been said; behind a stop string nothing is told."""
        end = self.n_prompt_characters + self.wording.n_said
        everything = is_last and not self.wording.is_stopped
        ready = [told for told in self.held if everything or told.offset < end]
        self.held = self.held[len(ready) :]
        return [Said(text, tuple(ready))] if text or ready else []


def _told(log_p_V: Float[Tensor, " V"], token: int, n_top: int, offset: int) -> Told:
    values, ids = torch.topk(log_p_V, n_top)
    top = {int(number): max(float(value), LEAST_LOG_P) for number, value in zip(ids, values, strict=True)}
    log_p = max(float(log_p_V[token]), LEAST_LOG_P)
    top.setdefault(token, log_p)
    return Told(token, log_p, tuple(top.items()), offset)


def _legible(text: str) -> str:
    """Bytes that are no UTF-8 as the replacement character, one for each."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
