"""Aligned training: each encoder row keeps the inner product 1 with its decoder row (arXiv 2605.18629).

w_f = v_f + (1 - ⟨v_f, d_f⟩) d_f  with ‖d_f‖ = 1, so that ⟨w_f, d_f⟩ = 1 for any v_f

The encoder that is kept is w itself: v is set to w after each step, where the gradients through the formula are
∂L/∂v_f = g_f - ⟨g_f, d_f⟩ d_f  and  ∂L/∂d_f += -⟨g_f, d_f⟩ w_f,  with g_f = ∂L/∂w_f.
So a kind with unit decoder rows needs three lines: `align_gradients` first in `before_step`, `align` last in
`after_step`, `require_aligned` in `adopt`. Moving w back without the decoder's share of the gradient learns less.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from bathyscope.errors import ConfigError

TOLERANCE = 1e-3
"""How far from 1 an inner product of a dictionary that is taken up may be."""


@runtime_checkable
class MayBeAligned(Protocol):
    """Settings of a kind that can be trained like this."""

    @property
    def aligned(self) -> bool:
        """Whether it is."""
        ...


def align_gradients(W_enc_FD: nn.Parameter, W_dec_FD: nn.Parameter) -> None:
    """Turn the gradients of aligned rows, in place, into those through the formula above. Unit decoder rows."""
    if W_enc_FD.grad is None:
        return
    along_F = torch.linalg.vecdot(W_enc_FD.grad, W_dec_FD.detach())
    if W_dec_FD.grad is not None:
        W_dec_FD.grad.addcmul_(along_F[:, None], W_enc_FD.detach(), value=-1)
    W_enc_FD.grad.addcmul_(along_F[:, None], W_dec_FD.detach(), value=-1)


def align(W_enc_FD: nn.Parameter, W_dec_FD: nn.Parameter) -> None:
    """Move each encoder row along its (unit) decoder row until their inner product is 1."""
    with torch.no_grad():
        W_enc_FD.addcmul_((1 - inner_products(W_enc_FD, W_dec_FD))[:, None], W_dec_FD)


def require_aligned(W_enc_DF: Tensor, W_dec_FD: Tensor) -> None:
    """Raise ConfigError for a dictionary whose rows are not aligned: it would change with the first step."""
    found_F = inner_products(W_enc_DF.T, W_dec_FD)
    if bool(((found_F - 1).abs() > TOLERANCE).any()):
        raise ConfigError(
            f"the dictionary to start from is not aligned: encoder and decoder rows have inner products from "
            f"{float(found_F.min()):.3g} to {float(found_F.max()):.3g}, not 1; go on without aligned"
        )


def inner_products(W_enc_FD: Tensor, W_dec_FD: Tensor) -> Tensor:
    """⟨w_f, d_f⟩ of each feature."""
    return torch.linalg.vecdot(W_enc_FD.detach(), W_dec_FD.detach())
