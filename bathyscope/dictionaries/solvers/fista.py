"""FISTA: the best codes under an L1 penalty, for any decoder (Beck and Teboulle 2009, SIAM J. Imaging Sciences 2(1)).

min_c ½‖x - c @ W‖² + λ‖c‖₁   (c ≥ 0 unless signed)
c⁺ = soft_{λ/Lip}(y - (y @ W - x) @ Wᵀ / Lip),  t⁺ = (1 + √(1 + 4t²))/2,  y⁺ = c⁺ + (t - 1)/t⁺ · (c⁺ - c)
Each token is a problem of its own: where its objective would rise the step is taken back and its momentum starts anew
(O'Donoghue and Candès 2015), so that the objective never rises.
"""

import logging
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)

CHUNK_BYTES = 16 << 20
"""Size of one of the about six [rows, F] matrices that are held."""
SQUARINGS = 8
"""The bound on Lip is at most D^(1/2^8) too large: 2.5 % at D = 576."""
ROUNDING = 4
"""Units in the last place by which an objective may lie above the lowest so far: less is noise, not a rise."""
CHECK_EVERY = 10
"""Steps between looks at which tokens are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fista:
    """Settings of `fista`."""

    l1: float
    """λ, in units of the activations (rows of length 1)."""
    is_signed: bool = False
    """Whether codes may be negative."""
    n_steps: int = 500
    """Most steps."""
    tolerance: float = 1e-3
    """A token is done when its step is so short, as a share of its largest inner product with a row."""

    def __post_init__(self) -> None:
        if not 0 <= self.l1 < float("inf"):
            raise ConfigError(f"l1 is {self.l1}: expected 0 or a positive number")
        if self.n_steps < 1 or not self.tolerance >= 0:
            raise ConfigError(f"n_steps is {self.n_steps} and tolerance {self.tolerance}: expected ≥ 1 and ≥ 0")


def fista(
    x_ND: Float[Tensor, "N D"],
    W_dec_FD: Float[Tensor, "F D"],
    l1: float,
    *,
    is_signed: bool = False,
    n_steps: int = 500,
    tolerance: float = 1e-3,
    start_NF: Float[Tensor, "N F"] | None = None,
) -> Codes:
    """Codes that minimise the objective, from zero or from `start_NF`, a slice of tokens at a time; no gradient.

    `x_ND` is centred; rows are taken as they are. A token is done when `Lip·‖y - c⁺‖ ≤ tolerance · max_f |⟨x, d_f⟩|`:
    then no condition of optimality is off by more than twice that. Tokens that are not done after `n_steps` are logged.
    """
    settings = Fista(l1=l1, is_signed=is_signed, n_steps=n_steps, tolerance=tolerance)
    x_ND, W_FD = x_ND.detach(), W_dec_FD.detach()
    lipschitz = largest_eigenvalue(W_FD)
    n_rows = max(1, CHUNK_BYTES // (4 * len(W_FD)))
    parts = list[Codes]()
    for i in range(0, max(len(x_ND), 1), n_rows):
        start = None if start_NF is None else start_NF[i : i + n_rows]
        codes_NF = _solve(x_ND[i : i + n_rows], W_FD, settings, lipschitz, start)
        parts.append(Codes.from_dense(codes_NF))
    return Codes.concatenate(parts, len(W_FD))


class State(NamedTuple):
    """Where the tokens are."""

    codes_NF: Float[Tensor, "N F"]
    """c."""
    guess_ND: Float[Tensor, "N D"]
    """c @ W."""
    ahead_NF: Float[Tensor, "N F"]
    """y."""
    ahead_guess_ND: Float[Tensor, "N D"]
    """y @ W."""
    momentum_N: Float[Tensor, " N"]
    """t."""
    objective_N: Float[Tensor, " N"]
    """The lowest objective so far; c's own is at most rounding above it."""
    slope_N: Float[Tensor, " N"]
    """Lip·‖y - c⁺‖ of the last step; infinite where it was taken back."""


def begin(x_ND: Float[Tensor, "N D"], W_FD: Float[Tensor, "F D"], l1: float, codes_NF: Float[Tensor, "N F"]) -> State:
    """At `codes_NF`, without momentum."""
    guess_ND = codes_NF @ W_FD
    ones_N = x_ND.new_ones(len(x_ND))
    value_N = objective(x_ND, codes_NF, guess_ND, l1)
    return State(codes_NF, guess_ND, codes_NF, guess_ND, ones_N, value_N, ones_N * torch.inf)


def objective(
    x_ND: Float[Tensor, "N D"], codes_NF: Float[Tensor, "N F"], guess_ND: Float[Tensor, "N D"], l1: float
) -> Float[Tensor, " N"]:
    """½‖x - c @ W‖² + λ‖c‖₁ of each token."""
    return 0.5 * (x_ND - guess_ND).square().sum(1) + l1 * codes_NF.abs().sum(1)


def advance(
    state: State,
    x_ND: Float[Tensor, "N D"],
    W_FD: Float[Tensor, "F D"],
    l1: float,
    lipschitz: float,
    *,
    is_signed: bool,
) -> State:
    """One step of every token; no objective rises by more than rounding."""
    moved_NF = state.ahead_NF - (state.ahead_guess_ND - x_ND) @ W_FD.T / lipschitz
    codes_NF = (moved_NF - l1 / lipschitz).relu()
    if is_signed:
        codes_NF -= (-moved_NF - l1 / lipschitz).relu()
    slope_N = lipschitz * (state.ahead_NF - codes_NF).norm(dim=1)
    guess_ND = codes_NF @ W_FD
    value_N = objective(x_ND, codes_NF, guess_ND, l1)
    rises_N = value_N > state.objective_N * (1 + ROUNDING * torch.finfo(x_ND.dtype).eps)
    momentum_N = 0.5 + (0.25 + state.momentum_N.square()).sqrt()
    factor_N1 = ((state.momentum_N - 1) / momentum_N)[:, None]
    rises_N1, has_momentum_N = rises_N[:, None], state.momentum_N > 1
    codes_NF = torch.where(rises_N1, state.codes_NF, codes_NF)
    guess_ND = torch.where(rises_N1, state.guess_ND, guess_ND)
    return State(
        codes_NF,
        guess_ND,
        codes_NF + factor_N1 * (codes_NF - state.codes_NF),
        guess_ND + factor_N1 * (guess_ND - state.guess_ND),
        torch.where(rises_N, 1, momentum_N),
        torch.minimum(state.objective_N, value_N),
        torch.where(rises_N & has_momentum_N, torch.inf, slope_N),
    )


def largest_eigenvalue(W_FD: Float[Tensor, "F D"]) -> float:
    """An upper bound of λ_max(W @ Wᵀ), by power iteration on the matrix itself.

    trace(M^p)^(1/p) with p = 2^SQUARINGS lies between λ_max and λ_max·D^(1/p): unlike a power iteration on a vector it
    never comes out too small, which would make steps too long.
    """
    wide_FD = W_FD.double()
    power = wide_FD.T @ wide_FD if len(wide_FD) > wide_FD.shape[1] else wide_FD @ wide_FD.T
    log_scale, p = 0.0, 1
    for _ in range(SQUARINGS):
        norm = power.norm().clamp_min(1e-300)
        power = power / norm
        power, log_scale, p = power @ power, 2 * (log_scale + float(norm.log())), 2 * p
    value = float(torch.exp((power.trace().clamp_min(1e-300).log() + log_scale) / p))
    return max(value, 1e-30)


def _solve(
    x_ND: Tensor, W_FD: Tensor, settings: Fista, lipschitz: float, start_NF: Tensor | None
) -> Float[Tensor, "N F"]:
    """Tokens that are done leave the batch every few steps."""
    out_NF = x_ND.new_zeros(len(x_ND), len(W_FD)) if start_NF is None else start_NF.to(x_ND.dtype).clone()
    rows_M = x_ND.isfinite().all(1).nonzero()[:, 0]
    out_NF[~x_ND.isfinite().all(1)] = torch.nan
    limit_M = settings.tolerance * (x_ND[rows_M] @ W_FD.T).abs().amax(1)
    state = begin(x_ND[rows_M], W_FD, settings.l1, out_NF[rows_M])
    is_done_M = torch.zeros_like(rows_M, dtype=torch.bool)
    for step in range(1, settings.n_steps + 1):
        state = advance(state, x_ND[rows_M], W_FD, settings.l1, lipschitz, is_signed=settings.is_signed)
        is_done_M |= state.slope_N <= limit_M  # later steps can only lower the objective further
        if step % CHECK_EVERY == 0 or step == settings.n_steps:
            out_NF[rows_M] = state.codes_NF
            rows_M, limit_M = rows_M[~is_done_M], limit_M[~is_done_M]
            state, is_done_M = State(*(tensor[~is_done_M] for tensor in state)), is_done_M[~is_done_M]
            if len(rows_M) == 0:
                break
    if len(rows_M):
        log.info("%d of %d tokens are not within tolerance after %d steps", len(rows_M), len(x_ND), settings.n_steps)
    return out_NF
