"""The plain reference of `Third`: the whole tensor [D, D, D] of third cumulants, entry by entry, for small widths."""

import torch
from jaxtyping import Float
from torch import Tensor


def read_densely(W_OD: Float[Tensor, "O D"], third_DDD: Float[Tensor, "D D D"]) -> Float[Tensor, "O O O"]:
    """The third cumulant of W h: W on each of the three sides."""
    return torch.einsum("ia,jb,kc,abc->ijk", W_OD, W_OD, W_OD, third_DDD)


def activated_densely(
    slope_D: Float[Tensor, " D"],
    bend_D: Float[Tensor, " D"],
    covariance_DD: Float[Tensor, "D D"],
    third_DDD: Float[Tensor, "D D D"],
    wanted_DD: Float[Tensor, "D D"],
) -> Float[Tensor, "D D D"]:
    """The third cumulant of f(z): trees where all three neurons differ, `wanted_DD` at every κ_iij.

    κ_ijk = a_1(i) a_1(j) a_1(k) κ3(z)_ijk + a_2(i) a_1(j) a_1(k) Σ_ij Σ_ik + a_1(i) a_2(j) a_1(k) Σ_ij Σ_jk + …
    """
    S_DD, a, b = covariance_DD, slope_D, bend_D
    found = torch.einsum("i,j,k,ijk->ijk", a, a, a, third_DDD)
    found += torch.einsum("i,j,k,ij,ik->ijk", b, a, a, S_DD, S_DD)
    found += torch.einsum("i,j,k,ij,jk->ijk", a, b, a, S_DD, S_DD)
    found += torch.einsum("i,j,k,ik,jk->ijk", a, a, b, S_DD, S_DD)
    every = torch.arange(len(a))
    for i in range(len(a)):
        found[i, i, every] = found[i, every, i] = found[every, i, i] = wanted_DD[i]
    return found
