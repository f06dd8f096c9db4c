"""Nulls that every score of a dictionary is printed beside.

A random dictionary of the same size shows how much of a score needs no learning at all.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.activations.store import ActivationStore
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError

STORE_ROWS = 4096
"""Rows of a store that a random dictionary's sparsity and scale are taken from."""


def random_dictionary(like: Dictionary, x_ND: Float[Tensor, "N D"], *, k: int, seed: int) -> Dictionary:
    """A dictionary of `like`'s size with random unit directions, k active features and one fitted scale.

    Encoder columns are the decoder rows, the offset is the mean of `x_ND`, and the codes are multiplied by the scalar
    that minimises the squared error on `x_ND` (training rows): the fairest reconstruction that random directions
    allow. Frozen-random baseline (arXiv 2602.14111) without any training. Drawn apart from what training with the same
    seed begins with (`seed_apart`).
    """
    like.require_one_place("a random dictionary")
    if not 1 <= k <= like.n_features:
        raise ConfigError(f"k is {k}, expected 1 to {like.n_features}, the number of features")
    generator = torch.Generator().manual_seed(seed_apart(seed))
    W_dec_FD = torch.randn(like.n_features, like.d_model, generator=generator)
    W_dec_FD /= W_dec_FD.norm(dim=1, keepdim=True)
    mean_D = x_ND.double().mean(0).float()
    unscaled = _tied(like, W_dec_FD, mean_D, k=k, scale=1.0)
    centred_ND = x_ND - mean_D
    guess_ND = unscaled.reconstruct(x_ND) - mean_D
    scale = float((centred_ND * guess_ND).double().sum() / guess_ND.double().square().sum().clamp_min(1e-30))
    return _tied(like, W_dec_FD, mean_D, k=k, scale=scale)


def random_dictionary_on(store: ActivationStore, like: Dictionary, *, seed: int) -> Dictionary:
    """A random dictionary as large, and on average as sparse, as `like` is on the first training rows of `store`."""
    x_ND = store.read(store.rows("train")[:STORE_ROWS], store.hookpoint(like.hookpoint)).float()
    k = round(like.encode(x_ND).l0())
    return random_dictionary(like, x_ND, k=min(max(k, 1), like.n_features), seed=seed)


def seed_apart(seed: int) -> int:
    """A seed made of `seed` for random directions that are laid beside trained ones.

    Training draws its first directions with the user's seed, too: drawn with the same number, the null would hold the
    very directions that the dictionary started from, and trained features stay near those.
    """
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


def _tied(like: Dictionary, W_dec_FD: Tensor, mean_D: Tensor, *, k: int, scale: float) -> Dictionary:
    weights = Weights(
        W_enc=(scale * W_dec_FD).T.contiguous(), b_enc=torch.zeros(like.n_features), W_dec=W_dec_FD, b_dec=mean_D
    )
    return Dictionary(
        weights=weights,
        rule=Largest(k=k),
        subtract_b_dec=True,
        hookpoint=like.hookpoint,
        model_identity=like.model_identity,
    )
