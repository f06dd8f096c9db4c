"""Means by sampling only what the propagated core does not know: unbiased, with an interval.

    E f = E[f(x) - β g(x)],   g(x) = J (h(x) - E h)

h is the first layer, whose mean is exact; J the mean Jacobian of the further layers, from a propagation of order 2. β
is one number per output, fitted on one half of the inputs and used on the other.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.hermite import coefficients
from bathyscope.risk.layerwise.network import Network, run
from bathyscope.risk.layerwise.sampling import Draws, Sampled, of_units
from bathyscope.risk.layerwise.slopes import mean_jacobian


def sample_with_control(network: Network, n: int, *, seed: int, draws: Draws = "antithetic") -> Sampled:
    """Means of the outputs over `n` inputs, each less its control. Raises ConfigError for a network of one layer."""
    if len(network.layers) < 2:
        raise ConfigError("a network of one layer has exact means: use propagate_singly")
    halves = (_Half(), _Half())
    for values_U2D in of_units(_Both(network), network.n_inputs, n, seed=seed, draws=draws):
        f_UD, g_UD = values_U2D.double().split(network.n_outputs, 1)
        for start, half in enumerate(halves):
            half.add(f_UD[start::2], g_UD[start::2])
    (left_D, left_variance_D), (right_D, right_variance_D) = (
        half.less(other.slope()) for half, other in (halves, halves[::-1])
    )
    n_units = halves[0].n + halves[1].n
    share = halves[0].n / n_units
    variance_D = share**2 * left_variance_D + (1 - share) ** 2 * right_variance_D
    return Sampled(share * left_D + (1 - share) * right_D, variance_D.sqrt(), n_units, n)


class _Both:
    """Outputs and controls of the same inputs, side by side."""

    def __init__(self, network: Network) -> None:
        self._first, self._rest = network.layers[:1], network.layers[1:]
        layer = network.layers[0]
        norm_D = layer.W_DI.double().norm(dim=1)
        self._mean_D = coefficients(layer.activation, 1, layer.b_D.double(), norm_D, n=1)[0]
        self._jacobian_OD = mean_jacobian(network, first=1)

    def __call__(self, x_NI: Float[Tensor, "N I"]) -> Float[Tensor, "N twice"]:
        h_ND = run(self._first, x_NI)
        controls_NO = (h_ND - self._mean_D.to(h_ND)) @ self._jacobian_OD.to(h_ND).T
        return torch.cat([run(self._rest, h_ND), controls_NO], 1)


class _Half:
    """Sums of f, g, f², f g and g² over the units of one half."""

    def __init__(self) -> None:
        self.n = 0
        self._sums_5D: Tensor | None = None

    def add(self, f_UD: Float[Tensor, "U D"], g_UD: Float[Tensor, "U D"]) -> None:
        """Take further units in."""
        self.n += len(f_UD)
        sums_5D = torch.stack([each.sum(0) for each in (f_UD, g_UD, f_UD**2, f_UD * g_UD, g_UD**2)])
        self._sums_5D = sums_5D if self._sums_5D is None else self._sums_5D + sums_5D

    def _central(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        assert self._sums_5D is not None
        f_D, g_D, ff_D, fg_D, gg_D = self._sums_5D / self.n
        return f_D, g_D, ff_D - f_D**2, fg_D - f_D * g_D, gg_D - g_D**2

    def slope(self) -> Float[Tensor, " D"]:
        """β: the regression of f on g; 0 where g does not vary."""
        _, _, _, fg_D, gg_D = self._central()
        return torch.where(gg_D > 0, fg_D / gg_D, 0.0)

    def less(self, slope_D: Float[Tensor, " D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        """Mean of f - β g and the variance of this mean."""
        f_D, g_D, ff_D, fg_D, gg_D = self._central()
        spread_D = (ff_D - 2 * slope_D * fg_D + slope_D**2 * gg_D).clamp(min=0)
        return f_D - slope_D * g_D, spread_D / (self.n - 1)
