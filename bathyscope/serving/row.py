"""`Row`: one prompt to be answered, and what is told of its answer as it comes."""

from dataclasses import dataclass

from bathyscope.serving.refusal import Refused
from bathyscope.steering.clause import Clause


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One answer that is asked for."""

    tokens: tuple[int, ...]
    """The prompt."""
    max_new_tokens: int
    """Longest answer; 0 only reads the prompt."""
    temperature: float
    """0 is greedy."""
    top_p: float
    """Share of the probability that is drawn from."""
    seed: int
    """Seed of the request."""
    number: int
    """Number of the row in its request: it draws from (`seed`, `number`)."""
    stops: tuple[str, ...] = ()
    """Texts before which the answer ends."""
    n_top: int | None = None
    """Likeliest tokens to tell at each place; None tells no log-probabilities."""
    echo: bool = False
    """Whether the prompt is part of what is told."""
    clauses: tuple[Clause, ...] = ()
    """How this row is steered."""

    @property
    def reads_prompt(self) -> bool:
        """Whether log-probabilities of the prompt itself are wanted, which takes the logits of all its tokens."""
        return self.echo and self.n_top is not None


@dataclass(frozen=True, slots=True)
class Told:
    """The log-probability of one token, natural logarithm."""

    token: int
    log_p: float | None
    """None for the first token of a prompt, before which there is nothing."""
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens at this place, and the token itself."""
    offset: int
    """Character of the text at which the token begins."""


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of an answer."""

    text: str
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of an answer."""

    reason: str
    """`stop` or `length`."""
    n_tokens: int
    """Tokens answered, the stop token included."""


Event = Said | Ended | Refused
"""What a row's client hears: pieces, then an end or the reason why there is none."""
