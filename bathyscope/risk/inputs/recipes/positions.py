"""Positions of a product law: fixed tokens, words of equal weight, words as frequent as in a corpus."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.features.tokens import TokenTable
from bathyscope.risk.inputs.product import ProductTokens

MOST_TOKENS = 1 << 14
"""Of a document: the rest is not counted."""


class Position(NamedTuple):
    """What can stand at one place."""

    ids_K: Int[Tensor, " K"]
    """Token ids, ascending."""
    log_p_K: Float[Tensor, " K"]
    """Natural logarithms of their probabilities, float64."""


def count_tokens(texts: Iterable[str], tokenizer: Any) -> Int[Tensor, " V"]:
    """How often each token occurs in these texts, each between the tokens that begin and end a text (if any)."""
    count_V = torch.zeros(len(tokenizer), dtype=torch.int64)
    ends = [[token] if token is not None else [] for token in (tokenizer.bos_token_id, tokenizer.eos_token_id)]
    for text in texts:
        ids = [*ends[0], *tokenizer(text, add_special_tokens=False)["input_ids"], *ends[1]]
        count_V += torch.tensor(ids[:MOST_TOKENS]).bincount(minlength=len(count_V))
    return count_V


def texts_of_tokens(tokenizer: Any) -> dict[int, str]:
    """Token → the text that it stands for; special tokens and parts of letters are left out."""
    table, found = TokenTable.of(tokenizer), dict[int, str]()
    for token, piece in enumerate(table.pieces):
        if token not in table.special:
            try:
                found[token] = piece.decode()
            except UnicodeDecodeError:
                continue
    return found


def start(tokenizer: Any) -> Position:
    """The token that begins a text. Raises ConfigError when there is none."""
    if tokenizer.bos_token_id is None:
        raise ConfigError("the tokenizer has no token that begins a text, and the laws of the recipes begin with it")
    return alike([tokenizer.bos_token_id])


def alike(ids: Iterable[int]) -> Position:
    """These tokens, equally likely."""
    ids_K = torch.tensor(sorted(set(ids)))
    return Position(ids_K, torch.zeros(len(ids_K), dtype=torch.float64).log_softmax(0))


def spelled(text: str, tokenizer: Any) -> list[Position]:
    """The tokens of a text, each fixed."""
    return [alike([token]) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]


def word(text: str, tokenizer: Any) -> int:
    """The one token of a text. Raises ConfigError when it takes more."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise ConfigError(f"the law needs {text!r} as one token, this tokenizer makes {len(ids)} of it")
    return ids[0]


def frequent(
    count_V: Int[Tensor, " V"],
    what: str,
    *,
    texts: dict[int, str] | None = None,
    keep: Callable[[str], bool] | None = None,
    most: int | None = None,
) -> Position:
    """The counted tokens in proportion to their counts: those whose text is kept, the `most` frequent of them.

    Without `keep` all tokens, special ones too. Raises ConfigError, which names `what`, when none is left.
    """
    kept_V = count_V.clone()
    if keep is not None:
        named = {token for token, text in (texts or {}).items() if keep(text)}
        kept_V[[token for token in range(len(count_V)) if token not in named]] = 0
    order_K = kept_V.argsort(descending=True, stable=True)[:most]
    ids_K = order_K[kept_V[order_K] > 0].sort().values
    if not len(ids_K):
        raise ConfigError(f"the corpus holds no token for {what}; give it more text of that kind")
    share_K = kept_V[ids_K].double() / kept_V[ids_K].sum()
    return Position(ids_K, share_K.log())


def law(name: str, positions: Sequence[Position]) -> ProductTokens:
    """The product of the positions."""
    return ProductTokens(
        support=tuple(position.ids_K for position in positions),
        log_p=tuple(position.log_p_K for position in positions),
        name=name,
    )
