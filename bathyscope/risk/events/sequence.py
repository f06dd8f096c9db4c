"""Events on several next tokens: a given sequence is what the model writes, greedily or with some probability.

One forward with the sequence behind the input; no token is generated.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.logits import keeps_logits
from bathyscope.models.model import Model
from bathyscope.risk.events.event import Outcome
from bathyscope.risk.events.logit import decided, margin


@dataclass(frozen=True, slots=True)
class GreedySequence:
    """The likeliest next tokens, one after another, are `tokens`. Score: the smallest margin along the way."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True

    tokens: tuple[int, ...]
    """Token ids, at least one."""

    def __post_init__(self) -> None:
        _require_sequence(self.tokens)

    @property
    def name(self) -> str:
        """Such as `greedy 3 tokens from 17`."""
        return f"greedy {len(self.tokens)} tokens from {self.tokens[0]}"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Margin and verdict."""
        logits_BTV = sequence_logits(model, inputs, self.tokens)
        margins = [margin(logits_BTV[:, place], [token]) for place, token in enumerate(self.tokens)]
        return decided(torch.stack(margins).amin(0))


@dataclass(frozen=True, slots=True)
class SampledSequence:
    """The next tokens, drawn at `temperature`, are `tokens`. Score: the logarithm of the product of probabilities."""

    is_smooth: ClassVar[bool] = True
    has_gradient: ClassVar[bool] = True

    tokens: tuple[int, ...]
    """Token ids, at least one."""
    temperature: float = 1.0
    """Of the draw."""

    def __post_init__(self) -> None:
        _require_sequence(self.tokens)
        if not 0 < self.temperature < math.inf:
            raise ConfigError(
                f"temperature is {self.temperature}, expected a number above 0; GreedySequence is its limit at 0"
            )

    @property
    def name(self) -> str:
        """Such as `draw of 3 tokens from 17 at temperature 1`."""
        return f"draw of {len(self.tokens)} tokens from {self.tokens[0]} at temperature {self.temperature:g}"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        """Log-probability and probability."""
        log_p_BTV = (sequence_logits(model, inputs, self.tokens) / self.temperature).log_softmax(-1)
        tokens_T = torch.tensor(self.tokens, device=log_p_BTV.device)
        log_p_B = log_p_BTV[:, torch.arange(len(self.tokens), device=log_p_BTV.device), tokens_T].sum(1)
        return Outcome(log_p_B, log_p_B.detach().exp())


def sequence_logits(model: Model, inputs: Mapping[str, Any], tokens: tuple[int, ...]) -> Float[Tensor, "B T V"]:
    """Logits in front of each of `tokens` behind every row, float64, of one forward; keeps the gradient graph.

    Raises ConfigError for a token outside the vocabulary.
    """
    strange = [token for token in tokens if not 0 <= token < model.n_vocabulary]
    if strange:
        raise ConfigError(f"token {strange[0]} is not in the vocabulary: 0 to {model.n_vocabulary - 1}")
    longer, n_tokens = _extended(model, inputs, tokens[:-1]), len(tokens)
    if keeps_logits(model):
        logits_BTV = model.network(**longer, use_cache=False, logits_to_keep=n_tokens).logits
    else:
        logits_BTV = model.network(**longer, use_cache=False).logits
    return logits_BTV[:, -n_tokens:].double()


def _extended(model: Model, inputs: Mapping[str, Any], tokens: tuple[int, ...]) -> dict[str, Any]:
    """The inputs with `tokens` behind every row, whether they are given as ids or as embeddings."""
    longer = dict(inputs)
    given = "inputs_embeds" if "inputs_embeds" in longer else "input_ids"
    n_rows, device = longer[given].shape[0], longer[given].device
    added_BT = torch.tensor(tokens, dtype=torch.long, device=device).expand(n_rows, -1)
    added = model.network.get_input_embeddings()(added_BT) if given == "inputs_embeds" else added_BT
    longer[given] = torch.cat([longer[given], added], 1)
    if "attention_mask" in longer:
        longer["attention_mask"] = torch.cat([longer["attention_mask"], torch.ones_like(added_BT)], 1)
    if "position_ids" in longer:
        steps_T = torch.arange(1, len(tokens) + 1, device=device)
        longer["position_ids"] = torch.cat([longer["position_ids"], longer["position_ids"][:, -1:] + steps_T], 1)
    return longer


def _require_sequence(tokens: tuple[int, ...]) -> None:
    if not tokens:
        raise ConfigError("a sequence needs at least one token, found none")
