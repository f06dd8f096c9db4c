"""Directions that carry a variable, read off activations without running the network: candidates for an interchange.

Mean differences (labels needed for the direction), and columns of a dictionary or of a sparse shift solution (labels
needed only to say which of the columns is meant). Knows nothing of how columns were learnt.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.circuits.subspace import Site, Subspace, orthonormal
from bathyscope.errors import ConfigError


def difference_of_means(x_NQD: Float[Tensor, "N Q D"], label_N: Int[Tensor, " N"]) -> Float[Tensor, "Q D"]:
    """μ(label 1) - μ(label 0) at each position. Raises ConfigError when one label does not occur."""
    if not 0 < int(label_N.sum()) < len(label_N):
        raise ConfigError("all labels are equal: there is no difference of means")
    x_NQD = x_NQD.double()
    return (x_NQD[label_N == 1].mean(0) - x_NQD[label_N == 0].mean(0)).float()


def most_correlated(codes_NF: Float[Tensor, "N F"], label_N: Float[Tensor, " N"], *, n: int) -> Int[Tensor, " M"]:
    """Numbers of the n columns whose codes follow the label best, by |Pearson correlation|, the best first.

    A column that never changes counts as 0. For shifts the label is the change of the variable.
    """
    if not 1 <= n <= codes_NF.shape[1]:
        raise ConfigError(f"{n} of {codes_NF.shape[1]} columns were asked for")
    codes_NF, label_N = codes_NF.double(), label_N.double()
    codes_NF, label_N = codes_NF - codes_NF.mean(0), label_N - label_N.mean()
    scale_F = codes_NF.norm(dim=0) * label_N.norm()
    correlation_F = (label_N @ codes_NF).abs() / scale_F.clamp_min(1e-12)
    return correlation_F.topk(n).indices


def spanned(site: Site, directions_QRD: Float[Tensor, "Q R D"]) -> Subspace:
    """The subspace that directions at each position span. Raises ConfigError when they are linearly dependent."""
    basis_QRD = orthonormal(directions_QRD)
    kept_QR = torch.linalg.qr(directions_QRD.transpose(1, 2)).R.diagonal(dim1=1, dim2=2).abs()
    if bool((kept_QR <= 1e-6 * directions_QRD.norm(dim=2)).any()) or not bool(torch.isfinite(basis_QRD).all()):
        raise ConfigError("these directions are zero or depend on each other: they span no subspace of this rank")
    return Subspace(site, basis_QRD)
