"""`KernelMixture`: a proposal made of inputs that show the event. Each draw keeps most choices of one of them.

q(x) = ε D(x) + (1 - ε) / 2 · [ Σ_h π_h ∏_i ((1 - λ) 1[x_i = h_i] + λ D_i(x_i)) + ∏_i (.7 Π_i(x_i) + .3 D_i(x_i)) ]
with Π_i the choices of the h at i: a kernel around each centre h, and one product law fitted to all of them
(population Monte Carlo, Cappé et al. 2004; cross-entropy, Rubinstein 1997). ε bounds every weight D / q by 1 / ε.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.risk.inputs.law import Law, draw, log_prob

DEFENSIVE = 0.1
"""Share ε of draws from the law of inputs itself."""
SMOOTHING = 0.3
"""Share of the law itself in the fitted product law."""
RATES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Values of λ that are tried."""
CHUNK = 2**22
"""Numbers held at once when densities are computed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelMixture:
    """A law over choices that can be drawn from and whose density is known."""

    law: Law
    """D, the law of inputs."""
    centres_HC: Int[Tensor, "H C"]
    """Inputs that show the event, each once."""
    share_H: Float[Tensor, " H"]
    """π: how often each is the centre; sums to 1."""
    rate: float
    """λ: probability that a choice of the centre is drawn again."""

    def draw(self, n: int, *, generator: torch.Generator) -> tuple[Int[Tensor, "N C"], Bool[Tensor, " N"]]:
        """`n` rows, and which of them came from around a centre."""
        part_N = torch.rand(n, generator=generator)
        fresh_NC = draw(self.law, n, generator=generator)
        centre_NC = self.centres_HC[torch.multinomial(self.share_H, n, replacement=True, generator=generator)]
        again_NC = torch.rand(fresh_NC.shape, generator=generator) < self.rate
        around_NC = torch.where(again_NC, fresh_NC, centre_NC)
        columns = [torch.multinomial(p, n, replacement=True, generator=generator) for p in self._fitted()]
        fitted_NC = torch.stack(columns, dim=1)
        is_around_N = part_N < (1 - DEFENSIVE) / 2
        is_fitted_N = ~is_around_N & (part_N < 1 - DEFENSIVE)
        rows_NC = torch.where(is_around_N[:, None], around_NC, torch.where(is_fitted_N[:, None], fitted_NC, fresh_NC))
        return rows_NC, is_around_N

    def log_prob(self, rows_NC: Int[Tensor, "N C"]) -> Float[Tensor, " N"]:
        """log q of each row, float64."""
        half = math.log((1 - DEFENSIVE) / 2)
        fitted_N = torch.zeros(len(rows_NC), dtype=torch.float64)
        for p, chosen_N in zip(self._fitted(), rows_NC.unbind(1), strict=True):
            fitted_N += p.log()[chosen_N]
        parts = (
            log_prob(self.law, rows_NC) + math.log(DEFENSIVE),
            log_kernels(self.law, rows_NC, self.centres_HC, self.share_H.log(), rate=self.rate) + half,
            fitted_N + half,
        )
        return torch.stack(parts).logsumexp(0)

    def _fitted(self) -> list[Float[Tensor, " _"]]:
        """The product law: for each choice the centres' options, smoothed."""
        found: list[Tensor] = []
        for log_p, own_H in zip(self.law.log_p, self.centres_HC.unbind(1), strict=True):
            counted = torch.zeros(len(log_p), dtype=torch.float64).index_add_(0, own_H, self.share_H)
            found.append((1 - SMOOTHING) * counted + SMOOTHING * log_p.exp())
        return found


def log_kernels(
    law: Law,
    rows_NC: Int[Tensor, "N C"],
    centres_HC: Int[Tensor, "H C"],
    log_share_H: Float[Tensor, " H"],
    *,
    rate: float,
) -> Float[Tensor, " N"]:
    """log Σ_h π_h ∏_i ((1 - λ) 1[x_i = h_i] + λ D_i(x_i)), in pieces of bounded size."""
    moved_NC = torch.stack([log_p[own_N] for log_p, own_N in zip(law.log_p, rows_NC.unbind(1), strict=True)], dim=1)
    moved_NC = moved_NC + math.log(rate)
    stayed_NC = torch.logaddexp(moved_NC, torch.tensor(math.log1p(-rate), dtype=torch.float64))
    gain_NC = stayed_NC - moved_NC
    size = max(1, CHUNK // max(1, len(centres_HC)))
    pieces: list[Tensor] = []
    for part_BC, base_BC, gain_BC in zip(rows_NC.split(size), moved_NC.split(size), gain_NC.split(size), strict=True):
        total_BH = log_share_H + base_BC.sum(1, keepdim=True)
        for column in range(part_BC.shape[1]):
            same_BH = part_BC[:, column, None] == centres_HC[:, column]
            total_BH = total_BH + same_BH * gain_BC[:, column, None]
        pieces.append(total_BH.logsumexp(1))
    return torch.cat(pieces)


def best_rate(law: Law, one_AC: Int[Tensor, "A C"], other_BC: Int[Tensor, "B C"]) -> float:
    """The λ under which kernels around either half of the centres find the other half likeliest."""
    halves = ((one_AC, other_BC), (other_BC, one_AC))

    def likelihood(rate: float) -> float:
        return sum(float(log_kernels(law, seen, kept, _even(len(kept)), rate=rate).mean()) for seen, kept in halves)

    return max(RATES, key=likelihood)


def _even(n: int) -> Float[Tensor, " H"]:
    return torch.full((n,), -math.log(n), dtype=torch.float64)
