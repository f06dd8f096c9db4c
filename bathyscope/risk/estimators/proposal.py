"""`Proposal`: a product law to draw from in place of the law of inputs, and the weights that undo the exchange.

A share `defensive` of the rows comes from the law itself, chosen for each row as a whole, so that no weight exceeds its
inverse (Hesterberg 1995).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.risk.inputs.law import Law, draw, log_prob


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """r(x) = (1 - defensive) ∏ q_i(x_i) + defensive ∏ p_i(x_i)."""

    law: Law
    """p, the law of inputs."""
    log_q: tuple[Float[Tensor, " _"], ...]
    """For each choice the natural logarithm of each option's share, float64."""
    defensive: float
    """Share of rows that come from the law."""

    def draw(self, n: int, *, generator: torch.Generator) -> Int[Tensor, "N C"]:
        """`n` independent rows of choices."""
        is_plain_N = torch.rand(n, generator=generator, dtype=torch.float64) < self.defensive
        columns = [torch.multinomial(log_q.exp(), n, replacement=True, generator=generator) for log_q in self.log_q]
        return torch.where(is_plain_N[:, None], draw(self.law, n, generator=generator), torch.stack(columns, dim=1))

    def log_weight(self, choices_NC: Int[Tensor, "N C"]) -> Float[Tensor, " N"]:
        """Natural logarithm of p(x) / r(x)."""
        log_q_N = torch.zeros(len(choices_NC), dtype=torch.float64)
        for log_q, chosen_N in zip(self.log_q, choices_NC.unbind(1), strict=True):
            log_q_N += log_q[chosen_N]
        log_p_N = log_prob(self.law, choices_NC)
        if not self.defensive:
            return log_p_N - log_q_N
        mixed = torch.logaddexp(math.log1p(-self.defensive) + log_q_N, math.log(self.defensive) + log_p_N)
        return log_p_N - mixed

    def nats(self) -> float:
        """KL(q ‖ p), without the defensive share: how much sharper the proposal is than the law."""
        pairs = zip(self.log_q, self.law.log_p, strict=True)
        return math.fsum(float((log_q.exp() * (log_q - log_p)).nan_to_num().sum()) for log_q, log_p in pairs)
