"""How good a match random directions would give: the null of every comparison with known directions.

For a random unit vector u in D dimensions, cos²(u, v) ~ Beta(1/2, (D - 1)/2) for each fixed v. The best of n such
comparisons exceeds c by chance with probability 1 - (1 - P(|cos| > c))^n, exact for independent directions.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def match_probability(cosine_F: Float[Tensor, " F"], *, n_true: int, d_model: int) -> Float[Tensor, " F"]:
    """Probability that a random direction's best |cosine| with `n_true` directions is at least as high (float64)."""
    from scipy.special import betainc

    square = np.clip(cosine_F.double().cpu().numpy() ** 2, 0, 1)
    one = betainc((d_model - 1) / 2, 0.5, 1 - square)
    return torch.from_numpy(-np.expm1(n_true * np.log1p(-np.minimum(one, 1 - 1e-16))))


def false_discoveries(p_F: Float[Tensor, " F"], *, rate: float = 0.05) -> Bool[Tensor, " F"]:
    """Which of the claims with these p-values must be given up so that at most `rate` of the rest are false.

    Benjamini and Hochberg 1995; True is given up.
    """
    n = len(p_F)
    ordered, order = p_F.double().sort()
    passes = ordered <= rate * torch.arange(1, n + 1, dtype=torch.float64) / max(n, 1)
    last = int(passes.nonzero().max()) + 1 if bool(passes.any()) else 0
    given_up = torch.ones(n, dtype=torch.bool)
    given_up[order[:last]] = False
    return given_up
