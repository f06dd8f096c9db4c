"""Matching pursuit on any decoder (Mallat and Zhang 1993, IEEE Trans. Signal Processing 41(12)).

r = x;  n_steps times: f = argmax |⟨r, u_f⟩|, v = ⟨r, u_f⟩, c_f += v / ‖d_f‖, r ← r - v·u_f,  u_f = d_f / ‖d_f‖
The residual never grows: ‖r‖² falls by v² at each step. The arithmetic is in `kernels/pursuit.py`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels.pursuit import Limits, merged, pursue
from bathyscope.errors import ConfigError


def matching_pursuit(
    x_ND: Float[Tensor, "N D"],
    W_dec_FD: Float[Tensor, "F D"],
    n_steps: int,
    *,
    is_signed: bool = True,
    residual_threshold: float = 0.0,
) -> Codes:
    """Codes of at most `n_steps` atoms per token with `x ≈ codes.dense() @ W_dec_FD`.

    `x_ND` is centred. Rows may have any length; a row of zeros is never taken. Unless `is_signed` a token without
    positive inner product is done. A token is also done after a step that leaves less than `residual_threshold`.
    """
    check_steps(n_steps, residual_threshold)
    length_F = W_dec_FD.norm(dim=1)
    units_FD = W_dec_FD / length_F.clamp_min(1e-30)[:, None]
    limits = Limits(n_steps, is_signed=is_signed, residual_threshold=residual_threshold)
    values_NK, indices_NK = merged(pursue(x_ND, units_FD, limits))
    length_NK = torch.where(values_NK != 0, length_F[indices_NK], 1)
    return Codes(values_NK / length_NK, indices_NK, len(W_dec_FD))


def check_steps(n_steps: int, residual_threshold: float) -> None:
    """Raise ConfigError for limits that no pursuit can keep."""
    if n_steps < 1:
        raise ConfigError(f"n_steps is {n_steps}: expected at least 1")
    if not residual_threshold >= 0:
        raise ConfigError(f"residual_threshold is {residual_threshold}: expected 0 or a positive length")
