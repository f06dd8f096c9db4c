"""Means of a network's outputs by running it: plainly, with mirrored inputs, or on scrambled Sobol points."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.network import Network

Draws = Literal["plain", "antithetic", "sobol"]
"""`antithetic`: each input x with -x. `sobol`: scrambled Sobol points turned normal, each with its mirror image."""
BATCH = 4096
"""Inputs of one run of the network."""
SCRAMBLES = 16
"""Independent scrambles of the Sobol points, of n/16 inputs each: their spread is the error."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Unbiased estimates with their standard errors and what they cost."""

    mean_D: Float[Tensor, " D"]
    """Estimates."""
    error_D: Float[Tensor, " D"]
    """Standard errors."""
    n_units: int
    """Independent units behind the errors: inputs, mirrored pairs, or scrambles."""
    n_forward: int
    """Inputs that the network was run on."""

    def interval(self) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        """Ends of Student's 95 % intervals."""
        from scipy.stats import t

        half_D = float(t.ppf(0.975, self.n_units - 1)) * self.error_D
        return self.mean_D - half_D, self.mean_D + half_D


def sample(network: Network, n: int, *, seed: int, draws: Draws = "plain") -> Sampled:
    """Means of the outputs over `n` inputs. Raises ConfigError where `n` is too small for the way of drawing."""
    n_units, first_D, second_D = 0, torch.zeros(network.n_outputs, dtype=torch.float64), 0.0
    for values_UD in of_units(network, network.n_inputs, n, seed=seed, draws=draws):
        n_units += len(values_UD)
        first_D = first_D + values_UD.double().sum(0)
        second_D = second_D + values_UD.double().square().sum(0)
    variance_D = (second_D - first_D**2 / n_units).clamp(min=0) / (n_units - 1)
    return Sampled(first_D / n_units, (variance_D / n_units).sqrt(), n_units, n)


def of_units(
    function: Callable[[Tensor], Tensor], n_inputs: int, n: int, *, seed: int, draws: Draws
) -> Iterator[Float[Tensor, "U D"]]:
    """Independent values, each with the function's mean under N(0, I), from `n` inputs (float32).

    Raises ConfigError for an unknown way of drawing, or where `n` does not fill two of its units.
    """
    if draws not in get_args(Draws):
        raise ConfigError(f"draws {draws!r} is unknown; expected one of: {', '.join(get_args(Draws))}")
    inputs_of_unit = {"plain": 1, "antithetic": 2, "sobol": 2 * SCRAMBLES}[draws]
    if n < 2 * inputs_of_unit or n % inputs_of_unit:
        raise ConfigError(
            f"n is {n}; {draws} draws take a multiple of {inputs_of_unit}, at least {2 * inputs_of_unit} inputs"
        )
    if draws == "sobol":
        scrambles = range(seed * SCRAMBLES, (seed + 1) * SCRAMBLES)
        yield torch.stack([_of_scramble(function, n_inputs, n // inputs_of_unit, seed=each) for each in scrambles])
        return
    generator = torch.Generator().manual_seed(seed)
    for n_batch in _batches(n // inputs_of_unit):
        x_NI = torch.randn(n_batch, n_inputs, generator=generator)
        yield _mirrored(function, x_NI) if draws == "antithetic" else function(x_NI)


def _mirrored(function: Callable[[Tensor], Tensor], x_NI: Float[Tensor, "N I"]) -> Float[Tensor, "N D"]:
    return (function(x_NI) + function(-x_NI)) / 2


def _of_scramble(function: Callable[[Tensor], Tensor], n_inputs: int, n: int, *, seed: int) -> Float[Tensor, " D"]:
    """The mean over the first `n` points of one scramble and their mirror images."""
    engine, sums = torch.quasirandom.SobolEngine(n_inputs, scramble=True, seed=seed), []
    for n_batch in _batches(n):
        uniform_NI = engine.draw(n_batch, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        sums.append(_mirrored(function, torch.special.ndtri(uniform_NI).float()).sum(0, dtype=torch.float64))
    return torch.stack(sums).sum(0) / n


def _batches(n: int) -> Iterator[int]:
    return (min(BATCH, n - start) for start in range(0, n, BATCH))
