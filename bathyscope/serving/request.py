"""The bodies of `/v1/completions` and `/v1/chat/completions` as rows to answer.

Fields that this server has no use for are taken only at the value that asks for nothing; others are refused by name,
never dropped.
"""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bathyscope.models.model import Model
from bathyscope.models.prompts import chat_tokens, text_tokens
from bathyscope.models.roles import role_marks, roles_of
from bathyscope.serving.fields import Fields
from bathyscope.serving.limits import LimitSettings
from bathyscope.serving.refusal import Refused, blamed_on
from bathyscope.serving.row import Row
from bathyscope.serving.shelf import Shelf
from bathyscope.serving.steers import read_steer
from bathyscope.steering.clause import Clause
from bathyscope.steering.numbers import is_whole
from bathyscope.steering.overlap import require_apart
from bathyscope.steering.steer import require_fit

ROLES = ("system", "user", "assistant")
MAX_STOPS, MAX_STOP_CHARACTERS, MAX_ANSWERS, MAX_TOP = 16, 256, 16, 20
DEFAULT_COMPLETION_TOKENS = 16
IDLE: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none",),
    "tools": ([],),
    "functions": ([],),
}
"""Fields of OpenAI's protocol that change nothing here, and the values at which they ask for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that can be answered."""

    rows: tuple[Row, ...]
    """One for each choice of the response, in the order of their indices."""
    n_prompt_tokens: int
    """Tokens of all prompts, each counted once."""
    seed: int
    """Seed given, or drawn for this request."""
    is_streamed: bool
    tells_usage: bool
    """Whether the stream ends with the token counts."""


class RequestReader:
    """Reads bodies for one model, one at a time: tokenizers are not made for several threads."""

    def __init__(self, model: Model, shelf: Shelf, limits: LimitSettings, standing: Sequence[Clause] = ()) -> None:
        self._model, self._shelf, self._limits = model, shelf, limits
        self._standing = tuple(standing)
        require_apart(self._standing)
        for clause in self._standing:
            require_fit(model, clause)
        self._one = threading.Lock()

    def completion(self, body: Fields) -> Asked:
        """A body of `/v1/completions`. Raises Refused with the path of the field at fault."""
        with self._one:
            prompts = self._prompts(body)
            n_top = body.whole("logprobs", least=0, most=MAX_TOP)
            n_new = body.whole("max_tokens", least=0, most=self._limits.max_tokens)
            echo = body.flag("echo")
            if n_new == 0 and not echo:
                raise body.refuse("max_tokens", "at least 1, or echo with it")
            n_new = DEFAULT_COMPLETION_TOKENS if n_new is None else n_new
            return self._asked(body, prompts, n_new=n_new, n_top=n_top, echo=echo)

    def chat(self, body: Fields) -> Asked:
        """A body of `/v1/chat/completions`. Raises Refused with the path of the field at fault."""
        with self._one:
            prompt = self._messages(body)
            n_top = body.whole("top_logprobs", least=0, most=MAX_TOP)
            if not body.flag("logprobs"):
                if n_top is not None:
                    raise body.refuse("top_logprobs", "nothing without logprobs: true")
            elif n_top is None:
                n_top = 0
            room = self._room(prompt)
            if room < 1:
                raise _too_long(prompt, room, 1, param="messages")
            counts = [body.whole(name, least=1, most=room) for name in ("max_completion_tokens", "max_tokens")]
            n_new = next((count for count in counts if count is not None), room)
            return self._asked(body, [prompt], n_new=n_new, n_top=n_top, echo=False)

    def _asked(self, body: Fields, prompts: Sequence[list[int]], *, n_new: int, n_top: int | None, echo: bool) -> Asked:
        """What both kinds have in common."""
        self._check_model(body)
        n = body.whole("n", least=1, most=MAX_ANSWERS) or 1
        if len(prompts) * n > self._limits.max_rows:
            raise Refused(f"{len(prompts) * n} answers are asked for, at most {self._limits.max_rows}", param="n")
        for prompt in prompts:
            if n_new > (room := self._room(prompt)):
                raise _too_long(prompt, room, n_new, param="max_tokens" if room > 0 else "prompt")
        temperature = body.number("temperature", least=0.0, most=100.0)
        top_p = body.number("top_p", least=1e-6, most=1.0)
        seed = body.whole("seed", least=-(2**63), most=2**63 - 1)
        seed = secrets.randbits(31) if seed is None else seed
        stops = body.texts("stop", most=MAX_STOP_CHARACTERS, n_most=MAX_STOPS)
        is_own = body.take("steer") is not None
        clauses = read_steer(body, self._model, self._shelf) if is_own else self._standing
        self._require_roles(clauses, prompts)
        is_streamed, options = body.flag("stream"), body.child("stream_options")
        tells_usage = options.flag("include_usage") if options else False
        if options:
            options.finish()
        _refuse_busy(body)
        rows = tuple(
            Row(
                tokens=tuple(prompt),
                max_new_tokens=n_new,
                temperature=1.0 if temperature is None else temperature,
                top_p=1.0 if top_p is None else top_p,
                seed=seed,
                number=number * n + copy,
                stops=stops,
                n_top=n_top,
                echo=echo,
                clauses=clauses,
            )
            for number, prompt in enumerate(prompts)
            for copy in range(n)
        )
        n_read = sum(map(len, prompts))
        return Asked(rows=rows, n_prompt_tokens=n_read, seed=seed, is_streamed=is_streamed, tells_usage=tells_usage)

    def _room(self, prompt: Sequence[int]) -> int:
        """New tokens that fit behind a prompt."""
        return min(self._model.context_length, self._limits.max_tokens) - len(prompt)

    def _require_roles(self, clauses: Sequence[Clause], prompts: Sequence[Sequence[int]]) -> None:
        """Refuse positions by role for a prompt in which no token has one: the clause would do nothing."""
        for clause in (each for each in clauses if each.where.roles):
            found = [roles_of(prompt, role_marks(self._model)) for prompt in prompts]
            if not all(each.behind or any(each.of_token) for each in found):
                path = f"{clause.name or 'steer'}.positions.roles"
                raise Refused(f"{path}: a prompt is plain text and has no roles; ask for a chat", param=path)

    def _check_model(self, body: Fields) -> None:
        name = body.needs("model", f"{self._model.name!r}")
        if name != self._model.name:
            served = f"the only model here is {self._model.name!r}"
            raise Refused(f"model: {served}", param="model", status=404, code="model_not_found")

    def _prompts(self, body: Fields) -> list[list[int]]:
        """From a text, token ids, or a list of either."""
        given = body.needs("prompt", "a text, token ids, or a list of either")
        several = given if isinstance(given, list) and not all(is_whole(each) for each in given) else [given]
        if not several or len(several) > self._limits.max_rows or given == []:
            raise body.refuse("prompt", f"1 to {self._limits.max_rows} prompts")
        single = several[0] is given
        return [self._prompt(each, "prompt" if single else f"prompt[{number}]") for number, each in enumerate(several)]

    def _prompt(self, given: Any, path: str) -> list[int]:
        with blamed_on(path):
            if isinstance(given, str):
                return text_tokens(self._model, given)
            if not isinstance(given, list) or not given or not all(is_whole(each) for each in given):
                raise Refused(f"{path}: expected a text or token ids", param=path)
            wrong = [each for each in given if not 0 <= each < self._model.n_vocabulary]
            if wrong:
                most = self._model.n_vocabulary - 1
                raise Refused(f"{path}: token ids go from 0 to {most}, found {wrong[0]}", param=path)
            return given

    def _messages(self, body: Fields) -> list[int]:
        body.needs("messages", "a list of messages")
        messages: list[dict[str, str]] = []
        for fields in body.children("messages", n_most=1024):
            role = fields.given("role", fields.choice("role", ROLES), f"one of {', '.join(ROLES)}")
            messages.append({"role": role, "content": _content(fields)})
            fields.finish()
        if not messages:
            raise body.refuse("messages", "at least one message")
        with blamed_on("messages"):
            return chat_tokens(self._model, messages)


def _too_long(prompt: Sequence[int], room: int, n_new: int, *, param: str) -> Refused:
    said = f"{len(prompt)} tokens of prompt leave room for {max(room, 0)} new ones, {n_new} are asked for"
    return Refused(f"{param}: {said}", param=param, code="context_length_exceeded")


def _content(fields: Fields) -> str:
    """A text, or the texts of its parts one after another."""
    given = fields.needs("content", "a text")
    if isinstance(given, str):
        return given
    texts: list[str] = []
    for part in fields.children("content", n_most=64):
        if part.take("type") != "text" or not isinstance(part.needs("text", "a text"), str):
            raise part.refuse("type", "'text' with a text: this model reads nothing else")
        texts.append(part.take("text"))
        part.finish()
    return "".join(texts)


def _refuse_busy(body: Fields) -> None:
    """Refuse what this server cannot do, and what it does not know."""
    body.text("user", most=512)
    for name, idle in IDLE.items():
        value = body.take(name)
        if value is not None and value not in idle:
            raise body.refuse(name, f"nothing or {' or '.join(map(repr, idle))}: this server has no use for it")
    body.finish()
