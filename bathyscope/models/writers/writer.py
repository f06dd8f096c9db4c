"""What is asked of a language model, what it answers, and what anything that answers must do.

A `Writer` continues prompts with texts. A `Judge` also says how likely each of a few answers is. A model of this
machine is in `local`, one behind an address in `endpoint`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a writer answered."""

    text: str
    """The answer, as it came."""
    ended: bool
    """False when it was cut off by a limit."""
    n_read: int = 0
    """Tokens that were read for it, where that is known."""
    n_written: int = 0
    """Tokens that were written, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt that is answered with one of few words, at one place or at several."""

    prompt: str
    """The message."""
    choices: tuple[str, ...]
    """The words, each a single token of the judge."""
    pieces: tuple[str, ...] = ("",)
    """The answer as far as it is given: behind each piece one of the choices is due."""
    filler: str = ""
    """What stands at each place once it is passed (the judge does not see its own answers)."""

    def __post_init__(self) -> None:
        if len(set(self.choices)) < max(2, len(self.choices)) or not self.pieces:
            raise ConfigError(f"a question needs two different choices and a place, found {self.choices}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How likely a judge finds each choice at each place of a question."""

    p: tuple[tuple[float, ...], ...] | None
    """Probability of each choice as the next word, place by place; None where the judge chose none of them."""
    n_read: int = 0
    """Tokens that were read for it, where that is known."""
    n_written: int = 0
    """Tokens that were written, where that is known."""


@runtime_checkable
class Writer(Protocol):
    """Answers prompts, a batch in each call."""

    @property
    def identity(self) -> Mapping[str, str | float]:
        """What decides its answers, for manifests: never a key."""
        ...

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """Materials it is made from."""
        ...

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        """One answer per prompt, in their order. Raises ModelError when they cannot be had."""
        ...


@runtime_checkable
class Judge(Writer, Protocol):
    """A writer that also chooses."""

    @property
    def fills(self) -> bool:
        """Whether it answers questions with more than one place."""
        ...

    def choose(self, questions: Sequence[Question]) -> list[Verdict]:
        """One verdict per question, in their order. Raises ModelError when they cannot be had."""
        ...
