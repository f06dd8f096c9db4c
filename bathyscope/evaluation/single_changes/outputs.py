"""Does the model take the step too? Its next token after one side, moved along a direction, against the other side."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.activations.pairs.store import PairStore
from bathyscope.evaluation.single_changes.turned import Turned
from bathyscope.models.hooks import replace
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs

BATCH = 32


class Divergence(NamedTuple):
    """KL(other side ‖ this side) of the next token, nats."""

    plain_P: Float[np.ndarray, " P"]
    """With nothing added."""
    moved_P: Float[np.ndarray, " P"]
    """With the direction added at `hookpoint`."""


def divergence(
    model: Model, store: PairStore, half: Turned, added_D: Float[Tensor, " D"], *, hookpoint: str
) -> Divergence:
    """How far the next token after each pair's first side is from that after its second side, plain and moved.

    `added_D` (in units of the activations) is added where the store reads: at the last token, or at every token behind
    the prefix that both sides share. 0 after moving would be a model that goes on as if it had read the other side.
    """
    tokens = store.tokens()
    numbers = zip(half.pairs_P.tolist(), half.is_turned_P.tolist(), strict=True)
    sides = [tokens[pair][::-1] if is_turned else tokens[pair] for pair, is_turned in numbers]
    plain: list[Tensor] = []
    moved: list[Tensor] = []
    for first in range(0, len(sides), BATCH):
        part = sides[first : first + BATCH]
        here, there = [side[0] for side in part], [side[1] for side in part]
        starts = [len(row) - 1 if store.position == "last" else _shared(row, other) for row, other in part]
        is_read_BS = torch.zeros(len(here), max(map(len, here)), dtype=torch.bool)
        for number, (row, start) in enumerate(zip(here, starts, strict=True)):
            is_read_BS[number, start : len(row)] = True
        add_BSD = (is_read_BS[..., None] * added_D.float()).to(model.device)
        wanted_BV = _next_token(model, there)
        plain.append(_kl(wanted_BV, _next_token(model, here)))
        with replace(model, {hookpoint: lambda x_BSD: x_BSD + add_BSD.to(x_BSD.dtype)}):  # noqa: B023
            moved.append(_kl(wanted_BV, _next_token(model, here)))
    return Divergence(torch.cat(plain).numpy(), torch.cat(moved).numpy())


def _shared(row: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that both begin with; fewer than either has."""
    n = min(len(row), len(other)) - 1
    return next((number for number in range(n) if row[number] != other[number]), n)


@torch.no_grad()
def _next_token(model: Model, rows: Sequence[Sequence[int]]) -> Float[Tensor, "B V"]:
    """Log-probabilities behind the last token of each row."""
    inputs = padded_inputs(model, rows, side="right")
    last_B = inputs["attention_mask"].sum(1) - 1
    logits_BSV = model.network(**inputs, use_cache=False).logits
    return logits_BSV[torch.arange(len(rows)), last_B].double().log_softmax(-1)


def _kl(wanted_BV: Tensor, given_BV: Tensor) -> Tensor:
    return (wanted_BV.exp() * (wanted_BV - given_BV)).sum(1).cpu()
