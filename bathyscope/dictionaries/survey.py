"""One look at training activations with finished dictionaries: the codes' extremes and figures for their cards."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.meter import variance_explained
from bathyscope.dictionaries.trainee import Example
from bathyscope.progress import report


def survey(surveys: "Sequence[Survey]", batches: Iterator[Tensor], *, n_rows: int) -> list[Dictionary]:
    """The dictionaries with the codes' extremes and figures from the first `n_rows` activations, each read once."""
    n_seen = 0
    for batch in batches:
        batch_NW = batch[: n_rows - n_seen].to("cpu", torch.float32)
        for one in surveys:
            one.add(batch_NW)
        n_seen += len(batch_NW)
        report("survey", n_seen, n_rows, "tokens")
        if n_seen >= n_rows:
            break
    return [one.result() for one in surveys]


class Survey:
    """Sums over the activations that one dictionary was shown.

    All figures are of these rows (training data, not held out) and of the final weights: variance explained with the
    rows' own mean, L0, and the share of features that never fire (a negative code is a firing too).
    """

    def __init__(self, dictionary: Dictionary, example: Callable[[Tensor], Example]) -> None:
        """`example` says what of a batch the dictionary reads and what it is to give."""
        self._dictionary, self._example = dictionary, example
        n_features = dictionary.n_features
        self._highest_F, self._lowest_F = torch.zeros(n_features), torch.zeros(n_features)
        self._fires_F = torch.zeros(n_features, dtype=torch.int64)
        self._shift_O = dictionary.b_dec.double()
        self._sum_O = torch.zeros_like(self._shift_O)
        self._n, self._error, self._square = 0, 0.0, 0.0

    def add(self, batch_NW: Float[Tensor, "N W"]) -> None:
        """Take in a batch of raw activations, float32 on the CPU."""
        x_ND, y_NO = self._example(batch_NW)
        codes = self._dictionary.encode(x_ND)
        self._highest_F.scatter_reduce_(0, codes.indices_NK.flatten(), codes.values_NK.flatten(), "amax")
        self._lowest_F.scatter_reduce_(0, codes.indices_NK.flatten(), codes.values_NK.flatten(), "amin")
        self._fires_F += codes.fires()
        shifted_NO = y_NO.double() - self._shift_O
        self._error += float((y_NO - self._dictionary.decode(codes, x_ND)).double().square().sum())
        self._square += float(shifted_NO.square().sum())
        self._sum_O += shifted_NO.sum(0)
        self._n += len(y_NO)

    def result(self) -> Dictionary:
        """The dictionary with `max_activation` (and `min_activation` where codes are signed) and `training` figures."""
        variation = self._square - float(self._sum_O.square().sum()) / max(self._n, 1)
        figures: dict[str, Any] = {
            "rows": self._n,
            "variance_explained": variance_explained(self._error, variation),
            "l0": float(self._fires_F.sum()) / max(self._n, 1),
            "dead_share": float((self._fires_F == 0).double().mean()),
        }
        training = {**self._dictionary.training, "survey": figures}
        signed = {"min_activation": self._lowest_F} if bool((self._lowest_F < 0).any()) else {}
        return dataclasses.replace(self._dictionary, max_activation=self._highest_F, **signed, training=training)
