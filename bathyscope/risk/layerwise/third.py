"""The third cumulant of a layer as a sum of simple terms, so that nothing of size D³ is ever made.

κ_ijk = Σ_r  u_ir v_jr v_kr + v_ir u_jr v_kr + v_ir v_jr u_kr
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Third:
    """A symmetric tensor [D, D, D] in R terms, in float32: its rounding is far below what an order leaves out."""

    U_DR: Float[Tensor, "D R"]
    """The factor that stands once in each product."""
    V_DR: Float[Tensor, "D R"]
    """The factor that stands twice."""

    @property
    def n_terms(self) -> int:
        """R."""
        return self.U_DR.shape[1]

    def through(self, W_OD: Float[Tensor, "O D"]) -> "Third":
        """The third cumulant of W h."""
        W_OD = W_OD.to(self.U_DR)
        return Third(W_OD @ self.U_DR, W_OD @ self.V_DR)

    def scaled(self, a_D: Float[Tensor, " D"]) -> "Third":
        """κ_ijk a_i a_j a_k."""
        a_D1 = a_D.to(self.U_DR)[:, None]
        return Third(a_D1 * self.U_DR, a_D1 * self.V_DR)

    def joined(self, other: "Third") -> "Third":
        """The sum of both tensors, term beside term."""
        return Third(torch.cat([self.U_DR, other.U_DR], 1), torch.cat([self.V_DR, other.V_DR], 1))

    def kept(self, terms: Int[Tensor, " K"] | slice) -> "Third":
        """Only these terms."""
        return Third(self.U_DR[:, terms], self.V_DR[:, terms])

    def slices(self) -> Float[Tensor, "D D"]:
        """κ_iij at row i and column j, in float64."""
        found_DD = 2 * (self.U_DR * self.V_DR) @ self.V_DR.T + self.V_DR.square() @ self.U_DR.T
        return found_DD.double()

    def diagonal(self) -> Float[Tensor, " D"]:
        """κ_iii, in float64."""
        return 3 * (self.U_DR * self.V_DR.square()).sum(1, dtype=torch.float64)

    def dense(self) -> Float[Tensor, "D D D"]:
        """The tensor itself, in float64: for small widths, and as what the terms are compared with."""
        U_DR, V_DR = self.U_DR.double(), self.V_DR.double()
        one_DDD = torch.einsum("ir,jr,kr->ijk", U_DR, V_DR, V_DR)
        return one_DDD + one_DDD.permute(1, 0, 2) + one_DDD.permute(2, 1, 0)
