"""The auxiliary loss that revives dead features (Gao et al. 2024, arXiv 2406.04093), shared by the kinds that select.

L_aux = ‖e - ê‖² / Σ‖e - ē‖²,  e = x - x̂ without gradient, ê what the dead features alone make of it
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.dictionaries.kernels.auxiliary import auxiliary_guess
from bathyscope.dictionaries.kernels.moments import Moments, moments


def auxiliary_loss(
    centred_ND: Float[Tensor, "N D"],
    residual_ND: Float[Tensor, "N O"],
    dead_F: Bool[Tensor, " F"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F O"],
    *,
    k_aux: int,
    absolute: bool = False,
) -> Float[Tensor, ""]:
    """`‖e - ê‖² / Var(e)`, 0 when no feature is dead. The residual is a fixed target; the guess has no bias.

    With `absolute` the guess is made of signed codes, as those of AbsTopK.
    """
    if centred_ND.device.type == "cpu" and not bool(dead_F.any()):
        return centred_ND.new_zeros(())
    guess_ND = auxiliary_guess(centred_ND, dead_F, W_enc_FD, b_enc_F, W_dec_FD, k_aux, absolute=absolute)
    return share_of_variation((residual_ND - guess_ND).square().sum(), moments(residual_ND)) * dead_F.any()


def default_k_aux(d_model: int) -> int:
    """The power of two nearest to half the width."""
    return 2 ** max(0, round(math.log2(d_model / 2)))


def share_of_variation(square: Float[Tensor, ""], of: Moments) -> Float[Tensor, ""]:
    """`square / Σ_n ‖x_n - x̄‖²` with the batch's mean; 0 for a batch without variation (one token, or all alike)."""
    variation = of.variation.to(square.dtype)
    varies = variation > 0
    return torch.where(varies, square / torch.where(varies, variation, 1), 0 * square)
