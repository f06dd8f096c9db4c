"""A small random dictionary for steering tests."""

import torch
from tiny import D_MODEL

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.models.model import Model


def random_dictionary(model: Model, *, n_features: int = 48, k: int = 6, seed: int = 0) -> Dictionary:
    """Untied random encoder and unit decoder at `layers.1` of `model`; every feature's observed maximum is 2."""
    generator = torch.Generator().manual_seed(seed)
    W_dec = torch.randn(n_features, D_MODEL, generator=generator)
    weights = Weights(
        W_enc=torch.randn(D_MODEL, n_features, generator=generator),
        b_enc=torch.randn(n_features, generator=generator) * 0.1,
        W_dec=W_dec / W_dec.norm(dim=1, keepdim=True),
        b_dec=torch.randn(D_MODEL, generator=generator),
    )
    return Dictionary(
        weights=weights,
        rule=Largest(k=k),
        subtract_b_dec=True,
        hookpoint="layers.1",
        model_identity=model.identity,
        max_activation=torch.full((n_features,), 2.0),
    )
