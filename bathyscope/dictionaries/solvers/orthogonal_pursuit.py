"""Orthogonal matching pursuit on any decoder (Pati et al. 1993): after each choice all amounts are fitted again.

S = {};  n_steps times: S ← S ∪ argmax_f |⟨r, u_f⟩|,  c_S = argmin_c ‖x - c @ W_S‖²,  r = x - c_S @ W_S
Unsigned: the argmax of ⟨r, u_f⟩ where positive, and the fit keeps c ≥ 0 (Bruckstein et al. 2008); an atom whose
amount becomes 0 stays in S and is not counted. The compiled path is in `kernels/orthogonal.py`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.orthogonal import DEPENDENT, Fit, fit_compiled
from bathyscope.dictionaries.kernels.pursuit import CHUNK_BYTES, GRAM_FEATURES
from bathyscope.dictionaries.solvers.least_squares import non_negative_fit
from bathyscope.dictionaries.solvers.matching_pursuit import check_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthogonalPursuit:
    """Settings of `orthogonal_pursuit`."""

    k: int
    """Most active features per token."""
    is_signed: bool = False
    """Whether codes may be negative."""
    residual_threshold: float = 0.0
    """A token is done once its residual is shorter than this."""


def orthogonal_pursuit(
    x_ND: Float[Tensor, "N D"],
    W_dec_FD: Float[Tensor, "F D"],
    n_steps: int,
    *,
    is_signed: bool = True,
    residual_threshold: float = 0.0,
) -> Codes:
    """Codes of at most `n_steps` atoms per token with `x ≈ codes.dense() @ W_dec_FD`, without gradient.

    `x_ND` is centred. Rows may have any length; a row of zeros is never taken. A token is done early when nothing is
    left, when its residual is shorter than `residual_threshold`, or when the next atom depends on those it has.
    """
    check_steps(n_steps, residual_threshold)
    length_F = W_dec_FD.detach().norm(dim=1)
    units_FD = (W_dec_FD.detach() / length_F.clamp_min(1e-30)[:, None]).contiguous()
    x_ND, f = x_ND.detach(), len(units_FD)
    n_steps = min(n_steps, f, x_ND.shape[1])
    is_compiled = engine(x_ND) == "compiled" and f <= GRAM_FEATURES
    fit = fit_compiled if is_compiled and len(x_ND) * n_steps >= f else fit_reference
    n_rows = max(1, CHUNK_BYTES // (4 * max(f, n_steps * x_ND.shape[1]))) if fit is fit_reference else len(x_ND)
    parts = [
        fit(x_ND[i : i + n_rows], units_FD, n_steps, is_signed=is_signed, residual_threshold=residual_threshold)
        for i in range(0, max(len(x_ND), 1), max(n_rows, 1))
    ]
    values_NK, indices_NK = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    indices_NK = torch.where(values_NK != 0, indices_NK, 0)
    return Codes(values_NK / torch.where(values_NK != 0, length_F[indices_NK], 1), indices_NK, f)


def fit_reference(
    x_ND: Float[Tensor, "N D"],
    units_FD: Float[Tensor, "F D"],
    n_steps: int,
    *,
    is_signed: bool,
    residual_threshold: float,
) -> Fit:
    """The definition: residuals compared with all atoms at each step, fits by the pseudo-inverse. Any device."""
    n = len(x_ND)
    indices_NK = torch.zeros(n, n_steps, dtype=torch.int64, device=x_ND.device)
    values_NK, residual_ND = x_ND.new_zeros(n, n_steps), x_ND
    is_going_N = x_ND.isfinite().all(1)
    for t in range(n_steps):
        pre_NF = residual_ND @ units_FD.T
        strength_N, best_N = (pre_NF.abs() if is_signed else pre_NF).max(1)
        chosen_NTD = units_FD[indices_NK[:, :t]]
        away_ND = units_FD[best_N] - _project(units_FD[best_N], chosen_NTD)
        is_going_N = is_going_N & (strength_N > 0) & (away_ND.square().sum(1) > DEPENDENT)
        indices_NK[:, t] = torch.where(is_going_N, best_N, 0)
        atoms_NTD = units_FD[indices_NK[:, : t + 1]]
        gram_NTT, inner_NT = atoms_NTD @ atoms_NTD.mT, (atoms_NTD @ x_ND[:, :, None])[:, :, 0]
        fitted_NT = (torch.linalg.pinv(gram_NTT, hermitian=True) @ inner_NT[:, :, None])[:, :, 0]
        if not is_signed:
            fitted_NT = non_negative_fit(fitted_NT, gram_NTT, inner_NT)
        values_NK[:, : t + 1] = torch.where(is_going_N[:, None], fitted_NT, values_NK[:, : t + 1])
        residual_ND = x_ND - (values_NK[:, None, : t + 1] @ atoms_NTD)[:, 0]
        is_going_N = is_going_N & (residual_ND.norm(dim=1) >= residual_threshold)
        if not bool(is_going_N.any()):
            break
    values_NK[~x_ND.isfinite().all(1), 0] = torch.nan
    return Fit(values_NK, indices_NK)


def _project(rows_ND: Tensor, chosen_NTD: Tensor) -> Tensor:
    """The part of each row that lies in the span of its chosen atoms."""
    if chosen_NTD.shape[1] == 0:
        return torch.zeros_like(rows_ND)
    solved_NTD = torch.linalg.pinv(chosen_NTD @ chosen_NTD.mT, hermitian=True) @ chosen_NTD
    return ((rows_ND[:, None] @ chosen_NTD.mT) @ solved_NTD)[:, 0]
