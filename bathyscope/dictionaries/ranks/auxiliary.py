"""The auxiliary loss that revives dead features, with tokens and features split over ranks.

L_aux = ‖e - ê‖² / Σ‖e - ē‖²,  e = x - x̂ without gradient, ê what the dead features alone make of it; `auxiliary.py` of
this room is the definition.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.dictionaries.auxiliary import share_of_variation
from bathyscope.dictionaries.kernels.auxiliary import auxiliary_guess
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.select import Pairs
from bathyscope.dictionaries.ranks.error import summed_parts
from bathyscope.dictionaries.ranks.mesh import Mesh
from bathyscope.dictionaries.ranks.moments import whole_moments
from bathyscope.dictionaries.ranks.selection import largest_of_token


def whole_auxiliary_loss(
    centred_ND: Float[Tensor, "N D"],
    residual_ND: Float[Tensor, "N D"],
    dead_F: Bool[Tensor, " F"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    W_dec_FD: Float[Tensor, "F D"],
    *,
    k_aux: int,
    mesh: Mesh,
) -> Float[Tensor, ""]:
    """This rank's tokens' share of the loss; 0 when no feature of any rank is dead."""
    n_dead = [int(n) for n in torch.cat(mesh.gather_from_features(dead_F.sum()[None]))]
    if not any(n_dead):
        return centred_ND.new_zeros(())
    weights = (W_enc_FD, b_enc_F, W_dec_FD)
    if mesh.n_feature_ranks == 1:
        guess_ND = auxiliary_guess(centred_ND, dead_F, *weights, k_aux)
    else:
        own = _candidates(centred_ND, dead_F, W_enc_FD, b_enc_F, width=min(k_aux, max(n_dead)))
        kept = largest_of_token(own, k_aux, mesh)
        guess_ND = summed_parts(decode_pairs(*kept, W_dec_FD, torch.zeros_like(centred_ND[0])), mesh)
    return share_of_variation((residual_ND - guess_ND).square().sum(), whole_moments(residual_ND, mesh))


def _candidates(centred_ND: Tensor, dead_F: Tensor, W_enc_FD: Tensor, b_enc_F: Tensor, *, width: int) -> Pairs:
    """Values and features of each token's largest pre-activations among this rank's dead features, 0 where negative.

    Padded to `width` with value 0 at feature 0.
    """
    dead_M = dead_F.nonzero()[:, 0]
    pre_NM = centred_ND @ W_enc_FD[dead_M].T + b_enc_F[dead_M]
    values_NK, slots_NK = pre_NM.topk(min(width, len(dead_M)), dim=1)
    more = (0, width - values_NK.shape[1])
    return Pairs(torch.nn.functional.pad(values_NK.relu(), more), torch.nn.functional.pad(dead_M[slots_NK], more))
