"""Texts as one vector each: the mean over a text's tokens of the activation, and of the codes of each dictionary.

The model runs once over the texts, whatever the number of dictionaries; nothing but the means is kept. Special tokens
and attention sinks count for nothing, as in collected activations.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.activations.document import Document
from bathyscope.activations.masks import Mask
from bathyscope.activations.packing import Packing, bos_token, encode
from bathyscope.dictionaries.dictionary import Codes, Dictionary
from bathyscope.errors import ConfigError
from bathyscope.models.hooks import run
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs
from bathyscope.models.prompts import special_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Means over the kept tokens of T texts. Memory: 4·T·(D + ΣF) bytes."""

    residual_TD: Float[Tensor, "T D"]
    """Mean activation."""
    codes: Mapping[str, Float[Tensor, "T _"]]
    """Name of a dictionary → mean codes [T, F]."""
    tokens_T: Int[Tensor, " T"]
    """Tokens that the means are over; 0 where a text has only special tokens, whose means are 0."""


def text_rows(model: Model, texts: Sequence[str], *, context: int) -> list[list[int]]:
    """Token ids of each text behind BOS (if the tokenizer has one), cut to `context` tokens."""
    if not 2 <= context <= model.context_length:
        raise ConfigError(f"context is {context}, expected 2 to {model.context_length} tokens for {model.name}")
    bos = bos_token(model.tokenizer, Packing())
    head = [] if bos is None else [bos]
    rows = [[*head, *encode(model.tokenizer, Document(text, ""), chat=False).tolist()][:context] for text in texts]
    empty = next((i for i, row in enumerate(rows) if not row), None)
    if empty is not None:
        raise ConfigError(f"text {empty} gives no token with the tokenizer of {model.name}; leave out empty texts")
    return rows


def pool(
    model: Model,
    hookpoint: str,
    rows: Sequence[Sequence[int]],
    dictionaries: Mapping[str, Dictionary],
    *,
    tokens_per_batch: int,
    sink_multiple: float,
    after_batch: Callable[[int], None] = lambda _: None,
) -> Pooled:
    """The mean activation and mean codes of each row of tokens, in the order given.

    Rows of like length go through the model together. `after_batch` is told how many rows are done.
    """
    residual: Tensor | None = None
    codes = {name: torch.zeros(len(rows), each.n_features) for name, each in dictionaries.items()}
    tokens_T = torch.zeros(len(rows), dtype=torch.int64)
    done = 0
    for batch in kept_batches(model, hookpoint, rows, tokens_per_batch=tokens_per_batch, sink_multiple=sink_multiple):
        residual = torch.zeros(len(rows), batch.x_ND.shape[1]) if residual is None else residual
        residual.index_add_(0, batch.row_N, batch.x_ND.cpu())
        tokens_T += batch.row_N.bincount(minlength=len(rows))
        for name, dictionary in dictionaries.items():
            add_codes(codes[name], batch.row_N, dictionary.encode(batch.x_ND.to(dictionary.device)))
        done += batch.n_rows
        after_batch(done)
    assert residual is not None  # `text_rows` refuses empty texts, and a task has some
    share_T1 = 1 / tokens_T.clamp_min(1)[:, None]
    return Pooled(residual_TD=residual * share_T1, codes={n: c * share_T1 for n, c in codes.items()}, tokens_T=tokens_T)


@dataclass(frozen=True, slots=True)
class KeptBatch:
    """The kept tokens of one forward pass."""

    x_ND: Float[Tensor, "N D"]
    """Activations, float32."""
    row_N: Int[Tensor, " N"]
    """Number of the row that each token stands in."""
    n_rows: int
    """Rows of the batch."""


def kept_batches(
    model: Model, hookpoint: str, rows: Sequence[Sequence[int]], *, tokens_per_batch: int, sink_multiple: float
) -> Iterator[KeptBatch]:
    """Every row once, those of like length together; special tokens and attention sinks left out."""
    mask = Mask(special_tokens(model), sink_multiple=sink_multiple, state={})
    for batch in length_batches(rows, tokens_per_batch=tokens_per_batch):
        inputs = padded_inputs(model, [rows[i] for i in batch], side="right")
        real_BS = inputs["attention_mask"].bool()
        x_ND = run(model, inputs, hookpoint)[hookpoint][real_BS].float()
        kept_N = torch.from_numpy(mask.kept(inputs["input_ids"][real_BS].cpu().numpy(), {hookpoint: x_ND}))
        row_N = torch.tensor(batch).repeat_interleave(real_BS.sum(1).cpu())
        yield KeptBatch(x_ND[kept_N.to(x_ND.device)], row_N[kept_N], len(batch))


def token_activations(
    model: Model, hookpoint: str, rows: Sequence[Sequence[int]], *, tokens_per_batch: int, sink_multiple: float
) -> Float[Tensor, "N D"]:
    """Activations of all kept tokens, shortest rows first."""
    batches = kept_batches(model, hookpoint, rows, tokens_per_batch=tokens_per_batch, sink_multiple=sink_multiple)
    return torch.cat([batch.x_ND.cpu() for batch in batches])


def add_codes(sums_TF: Float[Tensor, "T F"], of_text_N: Int[Tensor, " N"], codes: Codes) -> None:
    """Add the codes of each token to the row of its text, in place: `sums_TF.index_add_(0, of_text_N, dense)`."""
    places_NK = of_text_N[:, None] * sums_TF.shape[1] + codes.indices_NK.cpu()
    sums_TF.view(-1).scatter_add_(0, places_NK.flatten(), codes.values_NK.detach().float().cpu().flatten())


def length_batches(rows: Sequence[Sequence[int]], *, tokens_per_batch: int) -> list[list[int]]:
    """Row numbers, shortest rows first, in batches of about `tokens_per_batch` tokens with padding."""
    order = np.argsort([len(row) for row in rows], kind="stable").tolist()
    batches: list[list[int]] = []
    for i in order:
        if not batches or (len(batches[-1]) + 1) * len(rows[i]) > tokens_per_batch:
            batches.append([])
        batches[-1].append(i)
    return batches
