"""The two vectors of a pair: which tokens both sides are, and which of them are read.

`last` reads the last real token of a text, wherever padding lies. `mean` averages over the tokens behind the shared
prefix; special tokens and attention sinks count for nothing, as in collected activations. What is read depends on the
pair alone, never on its batch.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.activations.document import Document
from bathyscope.activations.packing import Packing, bos_token, encode
from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.hooks import run
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs

Position = Literal["last", "mean"]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Token ids of both sides, BOS included, and the span of each that may be read."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    start: int
    """First token behind BOS and what both sides share as their prefix; the span ends with the row."""

    @property
    def sides(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Both rows."""
        return self.before, self.after


def token_pairs(
    model: Model, pairs: PairSet, *, bos: Literal["always", "auto", "never"], max_tokens: int
) -> list[TokenPair]:
    """The tokens of every pair. Spellings of special tokens inside a text are plain text.

    Raises ConfigError naming the pair when a side gives no token, is longer than `max_tokens` (cutting would move the
    last token), or both sides give the same tokens.
    """
    begin = bos_token(model.tokenizer, Packing(bos=bos))
    head = () if begin is None else (begin,)
    return [_token_pair(model, pair, head, max_tokens) for pair in pairs.pairs]


def pair_batches(tokens: Sequence[TokenPair], *, batch_tokens: int) -> list[list[int]]:
    """Pair numbers, shortest first, in batches of about `batch_tokens` tokens of both sides with padding."""
    lengths = [max(map(len, pair.sides)) for pair in tokens]
    batches: list[list[int]] = []
    for number in sorted(range(len(tokens)), key=lambda i: lengths[i]):
        if not batches or 2 * (len(batches[-1]) + 1) * lengths[number] > batch_tokens:
            batches.append([])
        batches[-1].append(number)
    return batches


def read_batch(
    model: Model,
    tokens: Sequence[TokenPair],
    hookpoints: Sequence[str],
    *,
    position: Position,
    special: Collection[int],
    sink_multiple: float,
    side: Literal["left", "right"] = "right",
) -> dict[str, Float[Tensor, "P 2 _"]]:
    """Hookpoint → both vectors of each pair, float32, from one forward. `side` is where padding goes.

    Raises ModelError when an activation that is read is not finite, ConfigError when no token of a side may be read.
    """
    rows = [row for pair in tokens for row in pair.sides]
    inputs = padded_inputs(model, rows, side=side)
    real_BS = inputs["attention_mask"].bool()
    found = run(model, inputs, hookpoints)
    if position == "last":
        real = [int(row.nonzero()[-1]) for row in real_BS]
        read = {name: x_BSD[range(len(rows)), real].float() for name, x_BSD in found.items()}
    else:
        unpadded = [{name: x_BSD[b][real_BS[b]].float() for name, x_BSD in found.items()} for b in range(len(rows))]
        kept = [_averaged(row, tokens[b // 2].start, unpadded[b], special, sink_multiple) for b, row in enumerate(rows)]
        read = {
            name: torch.stack([x[name][k].double().mean(0) for x, k in zip(unpadded, kept, strict=True)]).float()
            for name in found
        }
    for name, x_BD in read.items():
        if not bool(torch.isfinite(x_BD).all()):
            raise ModelError(
                f"{name}: activations of {model.name} hold NaN or infinity; load the model in float32 or bfloat16, "
                "or choose another hookpoint"
            )
    return {name: x_BD.view(len(tokens), 2, -1).cpu() for name, x_BD in read.items()}


def _averaged(
    row: Sequence[int],
    start: int,
    x_SD: Mapping[str, Float[Tensor, "S _"]],
    special: Collection[int],
    sink_multiple: float,
) -> Bool[Tensor, " S"]:
    """True for the tokens of a row that the mean is over: in the span, not special, no sink at any hookpoint.

    A sink's norm is above `sink_multiple` times the median norm of the row's ordinary tokens (0: none is).
    """
    device = next(iter(x_SD.values())).device
    ordinary_S = torch.tensor([token not in special for token in row], device=device)
    kept_S = ordinary_S & (torch.arange(len(row), device=device) >= start)
    for x in x_SD.values():
        norms_S = x.norm(dim=1)
        if sink_multiple and bool(ordinary_S.any()):
            kept_S = kept_S & (norms_S <= sink_multiple * norms_S[ordinary_S].median())
    if not bool(kept_S.any()):
        raise ConfigError(
            f"a text of {len(row) - start} tokens has none to average over: all are special or attention sinks; "
            "leave it out, or set sink_multiple to 0"
        )
    return kept_S


def _token_pair(model: Model, pair: Pair, head: tuple[int, ...], max_tokens: int) -> TokenPair:
    before, after = ((*head, *_ids(model, text)) for text in pair.sides)
    prefix = (*head, *_ids(model, pair.prefix)) if pair.prefix else head
    for row in (before, after):
        if len(row) == len(head):
            raise ConfigError(f"{pair.label}: a side gives no token with the tokenizer of {model.name}; leave it out")
        if len(row) > max_tokens:
            raise ConfigError(
                f"{pair.label}: a side has {len(row)} tokens, at most {max_tokens} are read (max_tokens, or the "
                "model's context); leave it out: a cut would move its last token"
            )
    if before == after:
        raise ConfigError(f"{pair.label}: both sides give the same tokens with the tokenizer of {model.name}")
    return TokenPair(before, after, min(_common(prefix, before, after), len(before) - 1, len(after) - 1))


def _ids(model: Model, text: str) -> Iterator[int]:
    return (int(token) for token in encode(model.tokenizer, Document(text, ""), chat=False))


def _common(*rows: Sequence[int]) -> int:
    """Number of tokens that all rows begin with."""
    return next((n for n, column in enumerate(zip(*rows, strict=False)) if len(set(column)) > 1), min(map(len, rows)))
