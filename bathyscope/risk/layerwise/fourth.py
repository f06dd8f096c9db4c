"""The fourth cumulants of a layer as far as they matter one layer up: those in which at most three neurons occur.

κ_aabb and κ_aaab are matrices. For three different neurons the leading terms are kept as what they are made of,

    κ_aabc ≈ q_2(a) a_1(b) a_1(c) Σ_ab Σ_ac
           + q_1(a) [a_2(b) a_1(c) Σ_ab Σ_bc + a_1(b) a_2(c) Σ_ac Σ_bc + a_1(b) a_1(c) κ3_abc]

Σ and κ3 of what the activation f reads, a_p = E ∂^p f, q_1 = E ∂(f - E f)² and q_2 = E ∂²(f - E f)² - 2 a_1².
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.risk.layerwise.third import Third


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """What κ_aabc is made of."""

    a_PD: Float[Tensor, "3 D"]
    """a_0, a_1 and a_2."""
    q_PD: Float[Tensor, "3 D"]
    """q_0, q_1 and q_2."""
    apart_DD: Float[Tensor, "D D"]
    """Σ without its diagonal."""
    third: Third
    """κ3 of what the activation reads."""
    third_iij_DD: Float[Tensor, "D D"]
    """Its κ_iij."""

    def of_sums(self, W_OD: Float[Tensor, "O D"], read: Third) -> Float[Tensor, " O"]:
        """Σ W_ia² W_ib W_ic κ_aabc over different a, b and c: terms with Σ_ab Σ_ac, two kinds alike, and those of κ3.

        `read` is the third cumulant of W h, whose first terms are W diag(a_1) times those of `third`.
        """
        (_, a_1, a_2), (_, q_1, q_2) = self.a_PD, self.q_PD
        square_DD, slope_OD, skew_OD = self.apart_DD.square(), W_OD * a_1, W_OD.square() * q_1
        near_OD = slope_OD @ self.apart_DD
        at_a_O = (W_OD.square() * q_2 * (near_OD.square() - slope_OD.square() @ square_DD)).sum(1)
        bent_OD = W_OD * a_2
        at_b_O = (bent_OD * ((skew_OD @ self.apart_DD) * near_OD - (skew_OD * slope_OD) @ square_DD)).sum(1)
        return at_a_O + 2 * at_b_O + self._of_third(skew_OD, slope_OD, read.kept(slice(self.third.n_terms)))

    def _of_third(self, skew_OD: Tensor, slope_OD: Tensor, sloped: Third) -> Tensor:
        """Σ s_a t_b t_c κ3_abc over different a, b and c: all, less those with two alike, plus 2 × all alike."""
        sU_OR, sV_OR = (skew_OD.to(factor) @ factor for factor in (self.third.U_DR, self.third.V_DR))
        all_O = (sloped.V_DR * (sU_OR * sloped.V_DR + 2 * sV_OR * sloped.U_DR)).sum(1, dtype=torch.float64)
        b_is_c_O = (skew_OD * (slope_OD.square() @ self.third_iij_DD)).sum(1)
        a_is_b_O = (skew_OD * slope_OD * (slope_OD @ self.third_iij_DD.T)).sum(1)
        alike_O = (skew_OD * slope_OD.square()) @ self.third_iij_DD.diagonal()
        return all_O - b_is_c_O - 2 * a_is_b_O + 2 * alike_O


@dataclass(frozen=True, slots=True, eq=False)
class Fourth:
    """Fourth cumulants of the outputs of a layer."""

    pairs_DD: Float[Tensor, "D D"]
    """κ_aabb."""
    triples_DD: Float[Tensor, "D D"]
    """κ_aaab at row a and column b; zeros on the diagonal."""
    trees: Trees | None = None
    """For κ_aabc; None where it is zero."""

    def iiii(self, W_OD: Float[Tensor, "O D"], read: Third) -> Float[Tensor, " O"]:
        """κ_iiii of W h, whose third cumulant is `read`: each pattern as often as it occurs in W_ia W_ib W_ic W_id."""
        found_O = (self._by_pairs(W_OD) * W_OD).sum(1) + 4 * ((W_OD**3 @ self.triples_DD) * W_OD).sum(1)
        return found_O if self.trees is None else found_O + 6 * self.trees.of_sums(W_OD, read)

    def iiij(self, W_OD: Float[Tensor, "O D"]) -> Float[Tensor, "O O"]:
        """κ_iiij of W h, from pairs alone; the diagonal is κ_iiii of them."""
        return self._by_pairs(W_OD) @ W_OD.T

    def iijj(self, W_OD: Float[Tensor, "O D"]) -> Float[Tensor, "O O"]:
        """κ_iijj of W h, from pairs alone; the diagonal means nothing."""
        return W_OD.square() @ self.pairs_DD @ W_OD.square().T

    def _by_pairs(self, W_OD: Tensor) -> Tensor:
        """All three ways of pairing W_ia W_ia W_ib W_jb count, and a = b once, not thrice."""
        return 3 * W_OD * (W_OD.square() @ self.pairs_DD) - 2 * W_OD**3 * self.pairs_DD.diagonal()
