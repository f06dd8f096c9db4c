"""Which candidates of each rank are among the largest of all, ties broken as one process breaks them."""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.kernels.select import Pairs, select_among, select_largest
from bathyscope.dictionaries.ranks.mesh import Mesh


def largest_of_token(candidates: Pairs, k: int, mesh: Mesh) -> Pairs:
    """This rank's candidates with value 0 in place of those that are not among the k largest of their token.

    Each rank brings its own largest, in rising order of the feature and equally many, so that places in the row of all
    candidates are in order of the feature: values alone are exchanged. Gradients flow through what is left.
    """
    if mesh.n_feature_ranks == 1:
        return select_among(candidates, k)
    values_NK = candidates.values_NK
    n_own, own = values_NK.shape[1], mesh.feature_rank
    all_NC = torch.cat(mesh.gather_from_features(values_NK.detach()), dim=1)
    if k >= all_NC.shape[1]:
        return candidates
    is_kept_NC = torch.zeros_like(all_NC, dtype=torch.bool).scatter(1, select_largest(all_NC, k).indices_NK, True)
    is_kept_NK = is_kept_NC[:, own * n_own : (own + 1) * n_own]
    return Pairs(torch.where(is_kept_NK, values_NK, 0), candidates.indices_NK)


def largest_of_batch(candidates: Pairs, n_keep: int, mesh: Mesh, *, n_tokens: int, n_features: int) -> Pairs:
    """This rank's candidates with value 0 in place of those that are not among the `n_keep` largest of the batch.

    Each rank brings its own `n_keep` largest positive ones; `n_tokens` and `n_features` are those of all ranks. Among
    equal ones the lowest token wins, then the lowest feature.
    """
    if mesh.is_alone:
        return candidates
    values_NK, indices_NK = candidates
    positive_NK = ~(values_NK <= 0)
    own_M = values_NK.detach()[positive_NK]
    all_M = mesh.gather_from_all(own_M, padding=0.0)
    if n_keep >= int((~(all_M <= 0)).sum()):
        return candidates
    least = all_M.topk(n_keep).values[-1]
    tokens_N1 = mesh.first_token(n_tokens) + torch.arange(len(values_NK), device=values_NK.device)[:, None]
    places_NK = tokens_N1 * n_features + mesh.own_features(n_features).start + indices_NK
    is_equal_NK = (values_NK.detach() == least) & positive_NK
    n_left = n_keep - int((~(all_M <= least)).sum())
    equal_M = mesh.gather_from_all(places_NK[is_equal_NK], padding=n_tokens * n_features).sort().values
    last = equal_M[n_left - 1] if n_left > 0 else -1  # none is left where NaN, which is never hidden, took the room
    is_kept_NK = ~(values_NK.detach() <= least) | (is_equal_NK & (places_NK <= last))
    return Pairs(torch.where(is_kept_NK, values_NK, 0), indices_NK)


def least_kept(values_NK: Float[Tensor, "N K"], mesh: Mesh) -> Float[Tensor, ""]:
    """The least value above 0 of all ranks, without gradient; infinity when there is none."""
    values_NK = values_NK.detach()
    return mesh.least_of_all(torch.where(values_NK > 0, values_NK, torch.inf).amin())
