"""What dead features alone would make of a residual (the auxiliary loss of TopK dictionaries).

`ê = ReLU(k_aux largest of pre among dead features) @ W_dec`, without a bias; gradients reach encoder and decoder.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def auxiliary_guess(
    centred_ND: Float[Tensor, "N D"],
    dead_F: Bool[Tensor, " F"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F D"],
    k: int,
) -> Float[Tensor, "N D"]:
    """The dead features' guess: from their rows alone on a CPU, masked and without waiting for a device elsewhere."""
    if centred_ND.device.type == "cpu":
        return auxiliary_guess_subset(centred_ND, dead_F, W_enc_FD, b_enc_F, W_dec_FD, k)
    return auxiliary_guess_reference(centred_ND, dead_F, W_enc_FD, b_enc_F, W_dec_FD, k)


def auxiliary_guess_reference(
    centred_ND: Float[Tensor, "N D"],
    dead_F: Bool[Tensor, " F"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F D"],
    k: int,
) -> Float[Tensor, "N D"]:
    """The definition: all features computed, live ones masked. Holds [N, F]."""
    pre_NF = (centred_ND @ W_enc_FD.T + b_enc_F).masked_fill(~dead_F, -torch.inf)
    values_NK, indices_NK = pre_NF.topk(min(k, pre_NF.shape[1]), dim=1, sorted=False)
    return torch.zeros_like(pre_NF).scatter(1, indices_NK, values_NK.relu()) @ W_dec_FD


def auxiliary_guess_subset(
    centred_ND: Float[Tensor, "N D"],
    dead_F: Bool[Tensor, " F"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F D"],
    k: int,
) -> Float[Tensor, "N D"]:
    """The same from the rows of dead features only: cost and memory grow with their number."""
    dead_M = dead_F.nonzero()[:, 0]
    if len(dead_M) == 0:
        return torch.zeros_like(centred_ND)
    pre_NM = centred_ND @ W_enc_FD[dead_M].T + b_enc_F[dead_M]
    if len(dead_M) <= k:
        return pre_NM.relu() @ W_dec_FD[dead_M]
    values_NK, indices_NK = pre_NM.topk(k, dim=1, sorted=False)
    return torch.zeros_like(pre_NM).scatter(1, indices_NK, values_NK.relu()) @ W_dec_FD[dead_M]
