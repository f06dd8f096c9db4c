"""How far means of outputs are off, by propagation and by sampling, and what sampling reaches in the same time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.clock import Taken, seconds_of
from bathyscope.risk.layerwise.control import sample_with_control
from bathyscope.risk.layerwise.network import Activation, Network, random_network
from bathyscope.risk.layerwise.propagate import Order, propagate_singly
from bathyscope.risk.layerwise.sampling import Draws, Sampled, sample
from bathyscope.risk.layerwise.truth import APART, long_sample

MEANS = "means"
PLAIN = "plain sampling"
DRAWS: Mapping[str, Draws] = {PLAIN: "plain", "antithetic pairs": "antithetic", "antithetic Sobol points": "sobol"}
CONTROL = "control variate, antithetic"
BROKE, ERROR, SAMPLES = "broke down", "mean square error", "equals samples"
SECONDS, CPU = "seconds", "CPU seconds"
GAIN, CPU_GAIN = "gain at equal time", "gain at equal CPU time"
"""Mean square error of plain sampling that takes as long, over one's own. For propagated means these ratios take the
error and one standard error of it: a short truth flatters nobody."""

Figures = dict[str, dict[str, float]]
"""Way → name of a figure → value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanCase:
    """One network of the study."""

    n_hidden: int
    """Hidden layers."""
    activation: Activation = "relu"
    """Of every layer."""
    n_truth: int = 2**20
    """Inputs of the truth."""
    n_sampled: int = 2**13
    """Inputs of each way of sampling."""


def study_means(case: MeanCase, *, width: int, seed: int, turns: int) -> Figures:
    """Figures of every way, in one random network. The error of sampled means is their own squared standard error."""
    network = random_network(width=width, n_hidden=case.n_hidden, seed=seed, activation=case.activation)
    truth = long_sample(network, case.n_truth, seed=seed + APART)
    variance = float(truth.variance_D.mean())
    ways: dict[str, Callable[[], Sampled]] = {
        name: lambda draws=draws: sample(network, case.n_sampled, seed=seed + 2 * APART, draws=draws)
        for name, draws in DRAWS.items()
    }
    ways[CONTROL] = lambda: sample_with_control(network, case.n_sampled, seed=seed + 2 * APART)
    propagations = {f"order {order}": _propagation(network, order) for order in get_args(Order)}
    means = {name: propagate() for name, propagate in propagations.items()}
    works = {name: work for name, work in propagations.items() if means[name] is not None} | ways
    seconds = seconds_of(works, turns=turns)
    a_second = [variance * taken / case.n_sampled for taken in seconds[PLAIN]]  # error of plain sampling in one second
    found: Figures = {}
    for name, mean_D in means.items():
        found[name] = {BROKE: float(mean_D is None)}
        if mean_D is not None:
            error = truth.excess(mean_D)
            found[name] |= {ERROR: error.value, **_worth(error.bound, variance, seconds[name], Taken(*a_second))}
    for name, draw in ways.items():
        error = float(draw().error_D.square().mean())
        found[name] = {ERROR: error, **_worth(error, variance, seconds[name], Taken(*a_second))}
    return found


def _propagation(network: Network, order: Order) -> Callable[[], Tensor | None]:
    """Means by propagation; None where it breaks down, as it does in networks too deep for their width."""

    def propagate() -> Tensor | None:
        try:
            return propagate_singly(network, order=order).mean_D
        except ConfigError:
            return None

    return propagate


def _worth(error: float, variance: float, taken: Taken, sampling: Taken) -> dict[str, float]:
    """`sampling`: the error of plain sampling in one second."""
    return {
        SAMPLES: variance / error,
        SECONDS: taken.wall,
        CPU: taken.cpu,
        GAIN: sampling.wall / taken.wall / error,
        CPU_GAIN: sampling.cpu / taken.cpu / error,
    }
