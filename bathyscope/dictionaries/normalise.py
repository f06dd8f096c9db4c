"""What is done to each token before encoding and undone after decoding, where a dictionary was trained that way.

`x' = (x - m) / (s + ε)`, `x̂ = s·x̂' + m` with m and s of the token itself, so no folding can take it into the weights.
Knows nothing of weights.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Normalisation = Literal["layer-norm", "constant-norm"]
"""`layer-norm`: m is the mean of the token's D entries, s their standard deviation (n - 1), ε = 1e-5 added to s
(openai/sparse_autoencoder; SAELens `layer_norm`). `constant-norm`: m = 0, s = ‖x‖/√D, ε = 0 (SAELens
`constant_norm_rescale`)."""

EPSILON = 1e-5


class Statistics(NamedTuple):
    """Shift and scale of each token."""

    shift_N1: Float[Tensor, "N 1"]
    scale_N1: Float[Tensor, "N 1"]


def statistics(x_ND: Float[Tensor, "N D"], how: Normalisation) -> Statistics:
    """Shift and scale of each token."""
    if how == "layer-norm":
        return Statistics(x_ND.mean(1, keepdim=True), x_ND.std(1, keepdim=True))
    return Statistics(x_ND.new_zeros(len(x_ND), 1), x_ND.norm(dim=1, keepdim=True) / x_ND.shape[1] ** 0.5)


def normalised(x_ND: Float[Tensor, "N D"], how: Normalisation) -> Float[Tensor, "N D"]:
    """Each token as the dictionary was trained on it; a token of zeros stays zeros."""
    shift_N1, scale_N1 = statistics(x_ND, how)
    divisor_N1 = scale_N1 + EPSILON if how == "layer-norm" else scale_N1.clamp_min(torch.finfo(x_ND.dtype).tiny)
    return (x_ND - shift_N1) / divisor_N1


def restored(guess_ND: Float[Tensor, "N D"], x_ND: Float[Tensor, "N D"], how: Normalisation) -> Float[Tensor, "N D"]:
    """A reconstruction of normalised tokens, back in the units of the tokens `x_ND` themselves."""
    shift_N1, scale_N1 = statistics(x_ND, how)
    return guess_ND * scale_N1 + shift_N1
