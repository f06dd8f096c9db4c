"""One look at training activations with the finished dictionary: observed maxima and figures for its card."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.meter import variance_explained

SURVEY_ROWS = 200_000
"""Most activations that are looked at."""


def survey(dictionary: Dictionary, batches: Iterator[Tensor], *, n_rows: int = SURVEY_ROWS) -> Dictionary:
    """The dictionary with `max_activation` and `training` figures from the first `n_rows` activations of `batches`.

    All figures are of these rows (training data, not held out) and of the final weights: variance explained with the
    rows' own mean, L0, and the share of features that never fire.
    """
    highest_F = torch.zeros(dictionary.n_features)
    fires_F = torch.zeros(dictionary.n_features, dtype=torch.int64)
    sum_D = torch.zeros(dictionary.d_model, dtype=torch.float64)
    n_seen, error, square, shift_D = 0, 0.0, 0.0, dictionary.b_dec.double()
    for batch in batches:
        x_ND = batch[: n_rows - n_seen].to("cpu", torch.float32)
        codes = dictionary.encode(x_ND)
        highest_F.scatter_reduce_(0, codes.indices_NK.flatten(), codes.values_NK.flatten(), "amax")
        fires_F += codes.fires()
        shifted_ND = x_ND.double() - shift_D
        error += float((x_ND - dictionary.decode(codes)).double().square().sum())
        square += float(shifted_ND.square().sum())
        sum_D += shifted_ND.sum(0)
        n_seen += len(x_ND)
        if n_seen >= n_rows:
            break
    variation = square - float(sum_D.square().sum()) / max(n_seen, 1)
    figures: dict[str, Any] = {
        "rows": n_seen,
        "variance_explained": variance_explained(error, variation),
        "l0": float(fires_F.sum()) / max(n_seen, 1),
        "dead_share": float((fires_F == 0).double().mean()),
    }
    training = {**dictionary.training, "survey": figures}
    return dataclasses.replace(dictionary, max_activation=highest_F, training=training)
