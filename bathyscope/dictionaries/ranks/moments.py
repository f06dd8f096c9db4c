"""Mean and variation of a batch whose tokens lie with several ranks."""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.kernels.moments import Moments, moments
from bathyscope.dictionaries.ranks.mesh import Mesh


def whole_moments(x_ND: Float[Tensor, "N D"], mesh: Mesh) -> Moments:
    """Those of all ranks' tokens together, from this one's.

    `V = Σ_r (V_r + n_r ‖m_r - m‖²)`, `m = Σ_r n_r m_r / n`, in float64.
    """
    own = moments(x_ND)
    if mesh.n_data_ranks == 1:
        return own
    mean_D = own.mean_D.double()
    sums = mesh.sum_over_data(torch.cat([own.n * mean_D, mean_D.new_tensor([own.n])]))
    n, whole_D = int(sums[-1]), sums[:-1] / sums[-1]
    between = own.n * (mean_D - whole_D).square().sum()
    return Moments(n, whole_D, mesh.sum_over_data(own.variation + between))
