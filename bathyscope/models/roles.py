"""Which role of a chat each token belongs to, told from the marks that the chat template puts round messages."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from bathyscope.errors import ModelError
from bathyscope.models.model import Model
from bathyscope.models.prompts import chat_tokens, special_tokens

ROLES = ("system", "user", "assistant")


class Mark(NamedTuple):
    """What a template puts before and behind a role's message."""

    role: str
    opening: tuple[int, ...]
    """Ids from the last special token before the message on."""
    closing: frozenset[int]
    """Special ids that end it."""


def role_marks(model: Model) -> tuple[Mark, ...]:
    """The marks of each role that the template knows, longest opening first. Raises ModelError without a template."""
    return _marks(_Key(model))


class Roles(NamedTuple):
    """What `roles_of` finds."""

    of_token: list[str | None]
    """The role of each token; None for marks and for text outside any message."""
    behind: str | None
    """The role whose message goes on behind the last token."""


def roles_of(row: Sequence[int], marks: Sequence[Mark], *, within: str | None = None) -> Roles:
    """The roles of a row of tokens. `within` is the role whose message was going on when the row begins."""
    found: list[str | None] = []
    role, closing = within, frozenset[int]().union(*(mark.closing for mark in marks))
    number = 0
    while number < len(row):
        mark = next((each for each in marks if tuple(row[number : number + len(each.opening)]) == each.opening), None)
        if mark is not None:
            found += [None] * len(mark.opening)
            role, number = mark.role, number + len(mark.opening)
            continue
        role = None if row[number] in closing else role
        found.append(role)
        number += 1
    return Roles(found, role)


class _Key:
    """A model by identity, so that marks are read once."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __hash__(self) -> int:
        return id(self.model.tokenizer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.model.tokenizer is self.model.tokenizer


@lru_cache(maxsize=8)
def _marks(key: _Key) -> tuple[Mark, ...]:
    model = key.model
    found = [mark for role in ROLES if (mark := _mark(model, role)) is not None]
    if not found:
        raise ModelError(f"the chat template of {model.name} does not show where messages begin; roles need that")
    return tuple(sorted(found, key=lambda mark: -len(mark.opening)))


def _mark(model: Model, role: str) -> Mark | None:
    """From one message with two contents: what is the same before it and behind it."""
    turns = [{"role": "user", "content": "u"}] if role == "assistant" else []
    try:
        one, two = (
            chat_tokens(model, [*turns, {"role": role, "content": text}], answer=False) for text in ("1", "2 2")
        )
    except ModelError:
        if not model.tokenizer.chat_template:
            raise
        return None  # some templates know no system role
    start = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    special = special_tokens(model)
    first = max((i for i in range(start) if one[i] in special), default=None)
    behind = [token for token in one[start:] if token in special]
    if first is None or not behind:
        return None
    return Mark(role, tuple(one[first:start]), frozenset(behind[:1]))
