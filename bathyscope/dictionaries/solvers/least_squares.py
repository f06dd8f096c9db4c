"""The best amounts for features that are already chosen: `argmin_c ‖x - c @ W_S‖²`, free or with c ≥ 0."""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels.orthogonal import SETTLED, SWEEPS

CHUNK_BYTES = 64 << 20
"""Size of the [rows, K, D] chosen directions held at once."""


def refit(x_ND: Float[Tensor, "N D"], W_dec_FD: Float[Tensor, "F D"], codes: Codes, *, is_signed: bool = True) -> Codes:
    """The same active features with the amounts that reconstruct `x_ND` (centred) best; no gradient.

    Takes off what an L1 penalty took too much of every code. Features that depend on each other share what they
    explain; unless `is_signed` some amounts may become 0.
    """
    k, d = codes.values_NK.shape[1], x_ND.shape[1]
    n_rows = max(1, CHUNK_BYTES // max(1, 4 * k * d))
    parts = list[Tensor]()
    for i in range(0, max(len(x_ND), 1), n_rows):
        of = slice(i, i + n_rows)
        is_active_NK = codes.values_NK[of] != 0
        atoms_NKD = W_dec_FD.detach()[codes.indices_NK[of]] * is_active_NK[:, :, None]
        gram_NKK, inner_NK = atoms_NKD @ atoms_NKD.mT, (atoms_NKD @ x_ND[of].detach()[:, :, None])[:, :, 0]
        fitted_NK = (torch.linalg.pinv(gram_NKK, hermitian=True) @ inner_NK[:, :, None])[:, :, 0]
        if not is_signed:
            fitted_NK = non_negative_fit(fitted_NK, gram_NKK, inner_NK)
        parts.append(fitted_NK * is_active_NK)
    return Codes(torch.cat(parts), codes.indices_NK, codes.n_features)


def non_negative_fit(
    free_NK: Float[Tensor, "N K"], gram_NKK: Float[Tensor, "N K K"], inner_NK: Float[Tensor, "N K"]
) -> Float[Tensor, "N K"]:
    """argmin over c ≥ 0 of ½ c·G·c - c·b, by coordinate descent from the clipped free solution."""
    if not bool((free_NK < 0).any()):
        return free_NK
    c_NK, scale = free_NK.clamp_min(0), float(inner_NK.abs().amax())
    for _ in range(SWEEPS):
        before_NK = c_NK.clone()
        for i in range(c_NK.shape[1]):
            slope_N = inner_NK[:, i] - torch.linalg.vecdot(gram_NKK[:, i], c_NK)
            c_NK[:, i] = (c_NK[:, i] + slope_N / gram_NKK[:, i, i].clamp_min(1e-30)).clamp_min(0)
        if float((c_NK - before_NK).abs().amax()) <= SETTLED * scale:
            break
    return c_NK
