"""Truth by long sampling, in two halves: the product of two errors has no floor from the sampling itself.

E (q - t_1)(q - t_2) = (q - truth)²   for independent unbiased t_1 and t_2
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope import progress
from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.network import Network
from bathyscope.risk.layerwise.sampling import BATCH

APART = 1_000
"""Seeds of networks, truths and estimates are so far apart that none draws the numbers of another."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What `n` inputs say, one half beside the other."""

    n: int
    """Inputs, both halves together."""
    means_2D: Float[Tensor, "2 D"]
    """Means of the outputs."""
    variance_D: Float[Tensor, " D"]
    """Variances of the outputs."""
    shares_2BD: Float[Tensor, "2 B D"]
    """Shares of inputs with an output above each of B thresholds."""

    def excess(self, mean_D: Float[Tensor, " D"]) -> "Excess":
        """Mean square error of means over the outputs."""
        return _excess(mean_D, self.means_2D)

    def excess_above(self, p_D: Float[Tensor, " D"], threshold: int) -> "Excess":
        """The same for probabilities of exceeding the threshold with this number."""
        return _excess(p_D, self.shares_2BD[:, threshold])


class Excess(NamedTuple):
    """A mean square error without what the truth's own sampling adds; it may come out below zero."""

    value: float
    """The error."""
    noise: float
    """Its standard error, over outputs."""

    @property
    def bound(self) -> float:
        """The error and one standard error: what is counted on where the truth is too short to tell more."""
        return max(self.value, 0.0) + self.noise


def _excess(found_D: Float[Tensor, " D"], halves_2D: Float[Tensor, "2 D"]) -> Excess:
    products_D = (found_D - halves_2D[0]) * (found_D - halves_2D[1])
    return Excess(float(products_D.mean()), float(products_D.std()) / math.sqrt(len(products_D)))


def long_sample(network: Network, n: int, *, seed: int, thresholds: Sequence[float] = ()) -> Truth:
    """The truth from `n` inputs in float32. Raises ConfigError where `n` does not fill two halves with batches."""
    n_batches, rest = divmod(n, 2 * BATCH)
    if n_batches < 1 or rest:
        raise ConfigError(f"n is {n}; expected a multiple of {2 * BATCH}")
    generator = torch.Generator().manual_seed(seed)
    levels_B11 = torch.tensor(thresholds, dtype=torch.float32)[:, None, None]
    sums_22D = torch.zeros(2, 2, network.n_outputs, dtype=torch.float64)
    hits_2BD = torch.zeros(2, len(thresholds), network.n_outputs, dtype=torch.float64)
    for number in range(2 * n_batches):
        half, values_ND = number % 2, network(torch.randn(BATCH, network.n_inputs, generator=generator))
        hits_2BD[half] += (values_ND > levels_B11).sum(1)
        sums_22D[half] += torch.stack([values_ND.double().sum(0), values_ND.double().square().sum(0)])
        progress.report("truth", (number + 1) * BATCH, n, "inputs")
    means_2D, squares_D = sums_22D[:, 0] * 2 / n, sums_22D[:, 1].sum(0) / n
    return Truth(n, means_2D, squares_D - means_2D.mean(0) ** 2, hits_2BD * 2 / n)
