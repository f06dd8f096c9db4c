"""What dead features alone would make of a residual (the auxiliary loss of TopK dictionaries).

`ê = ReLU(k_aux largest of pre among dead features) @ W_dec`, without a bias; gradients reach encoder and decoder.
With `absolute`: the k_aux of largest size with their sign, no ReLU.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.dictionaries.kernels.engine import engine


def auxiliary_guess(
    centred_ND: Float[Tensor, "N D"],
    dead_F: Bool[Tensor, " F"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F O"],
    k: int,
    *,
    absolute: bool = False,
) -> Float[Tensor, "N O"]:
    """The dead features' guess: from their rows alone, or masked where there is no kernel for the device.

    Looking for them means waiting for a GPU. All F pre-activations of a batch would take longer than that.
    """
    if centred_ND.device.type == "cpu" or engine(centred_ND) == "triton":
        return auxiliary_guess_subset(centred_ND, dead_F, W_enc_FD, b_enc_F, W_dec_FD, k, absolute=absolute)
    return auxiliary_guess_reference(centred_ND, dead_F, W_enc_FD, b_enc_F, W_dec_FD, k, absolute=absolute)


def auxiliary_guess_reference(
    centred_ND: Float[Tensor, "N D"],
    dead_F: Bool[Tensor, " F"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F O"],
    k: int,
    *,
    absolute: bool = False,
) -> Float[Tensor, "N O"]:
    """The definition: all features computed, live ones masked. Holds [N, F]."""
    if absolute:
        pre_NF = (centred_ND @ W_enc_FD.T + b_enc_F).masked_fill(~dead_F, 0)
        return _largest_sizes(pre_NF, min(k, pre_NF.shape[1])) @ W_dec_FD
    pre_NF = (centred_ND @ W_enc_FD.T + b_enc_F).masked_fill(~dead_F, -torch.inf)
    values_NK, indices_NK = pre_NF.topk(min(k, pre_NF.shape[1]), dim=1, sorted=False)
    return torch.zeros_like(pre_NF).scatter(1, indices_NK, values_NK.relu()) @ W_dec_FD


def auxiliary_guess_subset(
    centred_ND: Float[Tensor, "N D"],
    dead_F: Bool[Tensor, " F"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F O"],
    k: int,
    *,
    absolute: bool = False,
) -> Float[Tensor, "N O"]:
    """The same from the rows of dead features only: cost and memory grow with their number."""
    dead_M = dead_F.nonzero()[:, 0]
    if len(dead_M) == 0:
        return centred_ND.new_zeros(len(centred_ND), W_dec_FD.shape[1])
    pre_NM = centred_ND @ W_enc_FD[dead_M].T + b_enc_F[dead_M]
    if absolute:
        return _largest_sizes(pre_NM, min(k, len(dead_M))) @ W_dec_FD[dead_M]
    if len(dead_M) <= k:
        return pre_NM.relu() @ W_dec_FD[dead_M]
    values_NK, indices_NK = pre_NM.topk(k, dim=1, sorted=False)
    return torch.zeros_like(pre_NM).scatter(1, indices_NK, values_NK.relu()) @ W_dec_FD[dead_M]


def _largest_sizes(pre_NF: Tensor, k: int) -> Tensor:
    """The k entries of largest size in each row, with their sign; zero elsewhere."""
    indices_NK = pre_NF.detach().abs().topk(k, dim=1, sorted=False).indices
    return torch.zeros_like(pre_NF).scatter(1, indices_NK, pre_NF.gather(1, indices_NK))
