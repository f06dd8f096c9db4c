"""How far probabilities of exceeding a threshold are off, by propagation, series, pooling and sampling."""

from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.risk.layerwise.clock import seconds_of
from bathyscope.risk.layerwise.mean_study import CPU, SAMPLES, SECONDS, Figures
from bathyscope.risk.layerwise.network import Network, random_network
from bathyscope.risk.layerwise.pooled import pooled
from bathyscope.risk.layerwise.propagate import Order, propagate_singly
from bathyscope.risk.layerwise.tails import edgeworth, tail
from bathyscope.risk.layerwise.tilt import tilted
from bathyscope.risk.layerwise.truth import APART, Truth, long_sample

TAILS = "outputs above"
LEAST_HITS = 100
"""Hits in the truth from which on a neuron has a relative error."""
SERIES, POOLED, SAMPLING, TILTED = "order 3, Edgeworth series", "pooled with samples", "samples alone", "tilted"
OUTSIDE = "not between 0 and 1"
MEDIAN, SPREAD, NEURONS = "median relative error", "relative error less the truth's", "neurons"
"""`SPREAD`: root of the mean of (p/t_1 - 1)(p/t_2 - 1) over neurons, t_1 and t_2 the halves of the truth."""
FEWER, COVERED = "variance of plain sampling over its own", "share of 95 % intervals that cover"
RARE = 1e-4
"""Probability near which outputs are chosen for `tilted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailCase:
    """The network of the study, and what is asked of it."""

    n_hidden: int = 3
    """Hidden ReLU layers, before a linear one."""
    thresholds: tuple[float, ...] = (3.0, 4.0, 5.0)
    """b."""
    n_truth: int = 2**22
    """Inputs of the truth."""
    n_pooled: int = 2**17
    """Inputs that propagated cumulants are pooled with."""
    n_tilted: int = 2**13
    """Inputs of each tilted estimate, of one output."""
    tilted_outputs: int = 16
    """Outputs that are asked about one by one, at each threshold."""


def study_tails(case: TailCase, *, width: int, seed: int, turns: int) -> dict[str, Figures]:
    """Figures of every way at each threshold, in one random network."""
    network = random_network(width=width, n_hidden=case.n_hidden, seed=seed, is_linear_last=True)
    truth = long_sample(network, case.n_truth, seed=seed + APART, thresholds=case.thresholds)
    levels_B = torch.tensor(case.thresholds, dtype=torch.float64)
    orders: tuple[Order, ...] = (1, 2, 3)

    def propagated(order: Order) -> Float[Tensor, "B D"]:
        return tail(propagate_singly(network, order=order), levels_B).log_p_BD.exp()

    def pool() -> Float[Tensor, "B D"]:
        return tail(pooled(network, case.n_pooled, seed=seed + 2 * APART), levels_B).log_p_BD.exp()

    def draw() -> Float[Tensor, "B D"]:
        drawn = long_sample(network, case.n_pooled, seed=seed + 2 * APART, thresholds=case.thresholds)
        return drawn.shares_2BD.mean(0)

    found = {f"order {order}": propagated(order) for order in orders}
    found |= {SERIES: edgeworth(propagate_singly(network, order=3), levels_B), POOLED: pool(), SAMPLING: draw()}
    seconds = seconds_of({f"order {order}": lambda order=order: propagated(order) for order in orders}, turns=turns)
    seconds |= seconds_of({POOLED: pool, SAMPLING: draw}, turns=1)
    figures: dict[str, Figures] = {}
    for number, threshold in enumerate(case.thresholds):
        here = {name: _compared(p_BD[number], truth, number) for name, p_BD in found.items()}
        for name, taken in seconds.items():
            here[name] |= {SECONDS: taken.wall, CPU: taken.cpu}
        here[TILTED] = _tilted(case, network, truth, number, seed)
        figures[f"{TAILS} {threshold:g}"] = here
    return figures


def _compared(p_D: Float[Tensor, " D"], truth: Truth, number: int) -> dict[str, float]:
    """Figures of one way at one threshold; relative errors only where a neuron has hits enough."""
    halves_2D = truth.shares_2BD[:, number]
    true_D = halves_2D.mean(0)
    variance = float((true_D * (1 - true_D)).mean())
    often_D = true_D * truth.n >= LEAST_HITS
    found = {
        SAMPLES: variance / truth.excess_above(p_D, number).bound,
        NEURONS: float(often_D.sum()),
        OUTSIDE: float(((p_D < 0) | (p_D > 1)).sum()),
    }
    if not often_D.any():
        return found
    off_2N = (p_D / halves_2D - 1)[:, often_D]
    middle = float((p_D / true_D - 1)[often_D].abs().median())
    return {**found, MEDIAN: middle, SPREAD: float(off_2N.prod(0).mean().clamp(min=0).sqrt())}


def _tilted(case: TailCase, network: Network, truth: Truth, number: int, seed: int) -> dict[str, float]:
    """Figures of importance sampling, over outputs that are asked about one by one; none where no output is rare."""
    true_D = truth.shares_2BD[:, number].mean(0)
    rare = [output for output in (true_D - RARE).abs().argsort().tolist() if true_D[output] * truth.n >= LEAST_HITS]
    fewer: list[float] = []
    n_covered = 0
    for output in rare[: case.tilted_outputs]:
        true = float(true_D[output])
        one = tilted(network, case.thresholds[number], case.n_tilted, seed=seed + 3 * APART, outputs=[output])
        low_O, high_O = one.interval()
        n_covered += bool(low_O[0] <= true <= high_O[0])
        own = float(one.error_O[0] ** 2)
        fewer.append(true * (1 - true) / case.n_tilted / own if own > 0 else 1.0)  # no hits: no better than sampling
    return {FEWER: median(fewer), COVERED: n_covered / len(fewer)} if fewer else {}
