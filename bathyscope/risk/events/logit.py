"""Events on the next token: which logit is largest, or how likely a token is drawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.logits import keeps_logits
from bathyscope.models.model import Model
from bathyscope.risk.events.event import Outcome


@runtime_checkable
class OnLogits(Protocol):
    """An event that the next token's logits decide: many such events share one forward."""

    def of_logits(self, logits_BV: Float[Tensor, "B V"]) -> Outcome:
        """Scores and values of rows with these logits."""
        ...


@dataclass(frozen=True, slots=True)
class ArgmaxToken:
    """The likeliest next token is `token`. Score: its logit minus the largest other one."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True

    token: int
    """Token id."""

    @property
    def name(self) -> str:
        """Such as `argmax = 17`."""
        return f"argmax = {self.token}"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Margin and verdict."""
        return self.of_logits(next_logits(model, inputs))

    def of_logits(self, logits_BV: Float[Tensor, "B V"]) -> Outcome:
        """Margin and verdict of rows with these logits."""
        return decided(margin(logits_BV, [self.token]))


@dataclass(frozen=True, slots=True)
class ArgmaxIn:
    """The likeliest next token is one of `tokens`. Score: the largest of their logits minus the largest other one."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True

    tokens: tuple[int, ...]
    """Token ids."""

    @property
    def name(self) -> str:
        """Such as `argmax in 3 tokens`."""
        return f"argmax in {len(self.tokens)} tokens"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Margin and verdict."""
        return self.of_logits(next_logits(model, inputs))

    def of_logits(self, logits_BV: Float[Tensor, "B V"]) -> Outcome:
        """Margin and verdict of rows with these logits."""
        return decided(margin(logits_BV, self.tokens))


@dataclass(frozen=True, slots=True)
class LogitMargin:
    """The logit of `token` exceeds each of those of `others` by at least `gap`."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True

    token: int
    """Token id."""
    others: tuple[int, ...]
    """Token ids that it is compared with."""
    gap: float = 0.0
    """In logits."""

    @property
    def name(self) -> str:
        """Such as `logit 17 - 3 others >= 2`."""
        return f"logit {self.token} - {len(self.others)} others >= {self.gap:g}"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Difference of logits beyond the gap, and verdict."""
        return self.of_logits(next_logits(model, inputs))

    def of_logits(self, logits_BV: Float[Tensor, "B V"]) -> Outcome:
        """Difference beyond the gap and verdict of rows with these logits."""
        _require_tokens((self.token, *self.others), logits_BV.shape[1])
        return decided(logits_BV[:, self.token] - logits_BV[:, list(self.others)].amax(1) - self.gap)


@dataclass(frozen=True, slots=True)
class TokenProbability:
    """The next token, drawn at `temperature`, is `token`. Score: the logarithm of its probability."""

    is_smooth: ClassVar[bool] = True
    has_gradient: ClassVar[bool] = True

    token: int
    """Token id."""
    temperature: float = 1.0
    """Of the draw."""

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ConfigError(
                f"temperature is {self.temperature}, expected a number above 0; ArgmaxToken is its limit at 0"
            )

    @property
    def name(self) -> str:
        """Such as `draw of 17 at temperature 1`."""
        return f"draw of {self.token} at temperature {self.temperature:g}"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Log-probability and probability."""
        return self.of_logits(next_logits(model, inputs))

    def of_logits(self, logits_BV: Float[Tensor, "B V"]) -> Outcome:
        """Log-probability and probability of rows with these logits."""
        _require_tokens((self.token,), logits_BV.shape[1])
        log_p_B = (logits_BV / self.temperature).log_softmax(1)[:, self.token]
        return Outcome(log_p_B, log_p_B.detach().exp())


def next_logits(model: Model, inputs: Mapping[str, Any]) -> Float[Tensor, "B V"]:
    """Logits behind the last token of every row, float64; keeps the gradient graph."""
    if keeps_logits(model):
        return model.network(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1].double()
    return model.network(**inputs, use_cache=False).logits[:, -1].double()


def margin(logits_BV: Float[Tensor, "B V"], tokens: Sequence[int]) -> Float[Tensor, " B"]:
    """The largest logit among `tokens` minus the largest of all others. Raises ConfigError for an unknown token."""
    _require_tokens(tokens, logits_BV.shape[1])
    if len(tokens) == 1:  # two numbers per row instead of a copy of the logits
        return margin_of_each(logits_BV, tokens)[:, 0]
    own_BT = logits_BV[:, list(tokens)]
    others_BV = logits_BV.index_fill(1, torch.tensor(tokens, device=logits_BV.device), -torch.inf)
    return own_BT.amax(1) - others_BV.amax(1)


def margin_of_each(logits_BV: Float[Tensor, "B V"], tokens: Sequence[int]) -> Float[Tensor, "B T"]:
    """For each of `tokens` its logit minus the largest other one. Raises ConfigError for an unknown token."""
    for token in tokens:
        _require_tokens([token], logits_BV.shape[1])
    tokens_T = torch.tensor(tokens, device=logits_BV.device)
    best_B2, places_B2 = logits_BV.topk(2, dim=1)
    return logits_BV[:, tokens_T] - torch.where(places_B2[:, :1] == tokens_T, best_B2[:, 1:], best_B2[:, :1])


def outcomes(events: Sequence[OnLogits], logits_BV: Float[Tensor, "B V"]) -> list[Outcome]:
    """What the logits say of each event; those of one token share the search for the largest logit."""
    tokens = [event.token for event in events if isinstance(event, ArgmaxToken)]
    margins = iter(margin_of_each(logits_BV, tokens).unbind(1)) if tokens else iter(())
    return [
        decided(next(margins)) if isinstance(event, ArgmaxToken) else event.of_logits(logits_BV) for event in events
    ]


def decided(score_B: Float[Tensor, " B"]) -> Outcome:
    """The outcome of an event that happens exactly where the score is at least 0."""
    return Outcome(score_B, (score_B.detach() >= 0).double())


def _require_tokens(tokens: Sequence[int], n_vocabulary: int) -> None:
    if not tokens or len(set(tokens)) >= n_vocabulary:
        raise ConfigError(f"{len(tokens)} tokens were given, expected at least one and fewer than all {n_vocabulary}")
    for token in tokens:
        if not 0 <= token < n_vocabulary:
            raise ConfigError(f"token {token} is not in the vocabulary: 0 to {n_vocabulary - 1}")
