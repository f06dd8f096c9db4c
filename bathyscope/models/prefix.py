"""`Prefix`: rows of tokens that begin alike are read from where they differ.

Judges are asked thousands of questions behind the same instructions; these are read once. The reference is a read
without anything kept (`log_probs`), and a test compares them.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.logits import keeps_logits
from bathyscope.models.model import Model


class Prefix:
    """The row that a model has read last, and its key-value cache."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._row: list[int] = []
        self._cache: Any = None

    def next_log_probs(
        self, model: Model, row: Sequence[int], *, places: Sequence[int]
    ) -> tuple[Float[Tensor, "G V"], int]:
        """Log-probabilities of the token that follows each of `places` in `row` (float64), and the tokens read for it.

        `places` are numbers of tokens of the row, ascending. Raises ConfigError when the row is longer than the
        model's context.
        """
        if not 0 < len(row) <= model.context_length:
            raise ConfigError(f"a question of {len(row)} tokens does not fit {model.name}: 1 to {model.context_length}")
        kept = self._keep(model, row, first=places[0])
        inputs: dict[str, Any] = {
            "input_ids": torch.tensor([list(row[kept:])], device=model.device),
            "position_ids": torch.arange(kept, len(row), device=model.device)[None],
            "attention_mask": torch.ones(1, len(row), dtype=torch.long, device=model.device),
            "past_key_values": self._cache,
            "use_cache": True,
        }
        wanted = torch.tensor([place - kept for place in places], device=model.device)
        keeps = keeps_logits(model)
        with torch.no_grad():
            output = model.network(**inputs, **({"logits_to_keep": wanted} if keeps else {}))
        self._row, self._cache = list(row), output.past_key_values
        logits_GV = output.logits[0] if keeps else output.logits[0, wanted]
        return logits_GV.double().log_softmax(-1).cpu(), len(row) - kept

    def _keep(self, model: Model, row: Sequence[int], *, first: int) -> int:
        """Cut the cache back to what `row` shares with the last one, at most `first` tokens; returns how many."""
        from transformers import DynamicCache

        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._row, row, strict=False)))
        kept = min(same, first) if model is self._model else 0
        if kept == 0:
            self._model, self._cache = model, DynamicCache()
        elif kept < len(self._row):
            self._cache.crop(kept - len(self._row))
        return kept
