"""The tilt under which an event is no longer rare: the one whose mean is the likeliest sum that shows it.

    min_{λ ≥ 0} K(Gᵀλ) + λ·h,   G_j = W_t - W_j,  h_j = b_t - b_j;   v = Gᵀλ

This is the dual of the least rate sup_v (v·x - K(v)) over all x with Gx + h ≥ 0; at the solution the tilted mean shows
the event, and importance sampling from the tilt stays efficient however rare it is, as long as one such point rules
(Sadowsky and Bucklew 1990).
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.risk.features.parts import Parts, tilted

Array = NDArray[np.float64]

FIRST, MORE, MOST_ROUNDS = 8, 4, 12
"""Rivals to begin with, most taken in per round, and rounds."""
SLACK = 1e-3
"""Lack of a rival's margin, in standard deviations, that counts as none."""
MOST_LOOKS = 300
"""Evaluations of K per round. Where no sum shows the event there is no minimum, and they run out."""
SHORT = 0.05
"""Lack of a margin, in standard deviations, with which the tilted mean still counts as showing the event."""


class Tilt(NamedTuple):
    """Where to draw."""

    v_D: Float[Tensor, " D"]
    """Of the exponential weight exp(v·x); 0 where the mean shows the event."""
    rate: float
    """The event's probability is at most exp(-rate)."""
    is_reached: bool
    """Whether the tilted mean shows the event; if not, no sum of parts does, or hardly any."""


def towards(parts: Parts, G_JD: Float[Tensor, "J D"], h_J: Float[Tensor, " J"]) -> Tilt:
    """The tilt for the event `Gx + h ≥ 0`; rivals are taken in as the tilted mean violates them."""
    sd_J = _deviations(parts, G_JD)
    found = Tilt(torch.zeros(G_JD.shape[1], dtype=torch.float64), 0.0, is_reached=True)
    held, share = torch.zeros(0, dtype=torch.int64), np.zeros(0)
    for n_more in (FIRST, *[MORE] * MOST_ROUNDS):
        lack_J = -(G_JD @ _mean(parts, found.v_D) + h_J) / sd_J
        lack_J[held] = 0.0
        worst = lack_J.topk(min(n_more, len(lack_J))).indices
        worst = worst[lack_J[worst] > SLACK]
        if not len(worst) or not found.is_reached:
            break
        held, share = torch.cat([held, worst]), np.concatenate([share, np.zeros(len(worst))])
        found, share = _solved(parts, G_JD[held] / sd_J[held, None], h_J[held] / sd_J[held], share)
    return found


def _solved(parts: Parts, G_JD: Tensor, h_J: Tensor, start_J: Array) -> tuple[Tilt, Float[Array, " J"]]:
    """The tilt for these rivals alone, and their multipliers."""
    from scipy.optimize import minimize

    found = minimize(
        _dual,
        start_J,
        args=(parts, G_JD, h_J),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * len(start_J),
        options={"maxfun": MOST_LOOKS, "ftol": 1e-9, "gtol": 1e-5},
    )
    is_reached = bool(found.jac.min() > -SHORT)  # the slope is what the tilted mean has of each margin
    return Tilt(torch.from_numpy(found.x) @ G_JD, -float(found.fun), is_reached), found.x


def _dual(share_J: Array, parts: Parts, G_JD: Tensor, h_J: Tensor) -> tuple[float, Array]:
    """K(Gᵀλ) + λ·h and its slope in λ."""
    leaf_J = torch.from_numpy(share_J.copy()).requires_grad_()
    value = tilted(parts, leaf_J @ G_JD).log_moment + leaf_J @ h_J
    (slope_J,) = torch.autograd.grad(value, leaf_J)
    return float(value.detach()), slope_J.numpy()


def _deviations(parts: Parts, G_JD: Tensor) -> Float[Tensor, " J"]:
    """About the deviation of each row of `G x`: a unit in which all rivals are alike."""
    square_F = torch.zeros(len(parts.directions_FD), dtype=torch.float64)
    square_F = square_F.index_add(0, parts.feature_E, parts.value_E**2) / parts.n_inputs
    spread_DD = (parts.directions_FD.T * square_F) @ parts.directions_FD + parts.rest_ND.var(0).diag()
    return ((G_JD @ spread_DD) * G_JD).sum(1).clamp(min=1e-12).sqrt()


def _mean(parts: Parts, v_D: Tensor) -> Float[Tensor, " D"]:
    """Mean of the sums under the tilt by v, the gradient of K."""
    leaf_D = v_D.clone().requires_grad_()
    (mean_D,) = torch.autograd.grad(tilted(parts, leaf_D).log_moment, leaf_D)
    return mean_D
