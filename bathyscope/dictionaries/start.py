"""Where weights and biases begin, and the scalar that makes activations of any model alike.

Knows tensors only.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

BiasStart = Literal["zero", "mean", "geometric-median"]
"""Where the decoder bias begins."""

MEDIAN_ROWS = 8192
"""Rows that the geometric median is taken over, evenly spaced."""


class Start(NamedTuple):
    """Encoder and decoder rows by feature; two tensors, equal at the start."""

    W_enc_FD: Float[Tensor, "F D"]
    W_dec_FD: Float[Tensor, "F D"]


def tied_start(n_features: int, d_model: int, *, norm: float, generator: torch.Generator) -> Start:
    """Random directions of length `norm`; the encoder is a copy of the decoder (not tied), against dead features."""
    W_dec_FD = torch.randn(n_features, d_model, generator=generator)
    W_dec_FD *= norm / W_dec_FD.norm(dim=1, keepdim=True)
    return Start(W_dec_FD.clone(), W_dec_FD)


def bias_start(x_ND: Float[Tensor, "N D"], start: BiasStart) -> Float[Tensor, " D"]:
    """The decoder bias that `start` names, from a sample of activations; float32."""
    match start:
        case "zero":
            return torch.zeros(x_ND.shape[1])
        case "mean":
            return x_ND.double().mean(0).float()
        case "geometric-median":
            step = -(-len(x_ND) // MEDIAN_ROWS)
            return geometric_median(x_ND[::step])


def geometric_median(
    x_ND: Float[Tensor, "N D"], *, n_rounds: int = 200, tolerance: float = 1e-6
) -> Float[Tensor, " D"]:
    """The point with the least sum of distances to the rows (Weiszfeld's iteration in float64), as float32.

    Unlike the mean it is not drawn away by a few activations of huge norm. Stops when a round moves it by less than
    `tolerance` times the mean distance.
    """
    wide_ND = x_ND.double()
    square_N = wide_ND.square().sum(1)
    median_D = wide_ND.mean(0)
    for _ in range(n_rounds):
        square_distance_N = square_N - 2 * (wide_ND @ median_D) + median_D.square().sum()
        distance_N = square_distance_N.clamp_min(1e-12 * float(square_N.mean()) + 1e-300).sqrt()
        weight_N = 1 / distance_N
        moved_D = (weight_N @ wide_ND) / weight_N.sum()
        shift, median_D = (moved_D - median_D).norm(), moved_D
        if shift <= tolerance * distance_N.mean():
            break
    return median_D.float()


def unit_second_moment(x_ND: Float[Tensor, "N D"]) -> float:
    """The scalar s with `E‖s·x‖² = D` (Templeton et al. 2024); 1 for activations that are all zero."""
    return _unit(x_ND.double().square().sum(1).mean(), x_ND.shape[1])


def unit_variance(x_ND: Float[Tensor, "N D"]) -> float:
    """The scalar s with `E‖s·(x - x̄)‖² = D`; 1 for activations that are all alike."""
    return _unit(x_ND.double().var(0, correction=0).sum(), x_ND.shape[1])


def _unit(mean_square: Tensor, d_model: int) -> float:
    value = float(mean_square)
    return (d_model / value) ** 0.5 if value > 0 else 1.0
