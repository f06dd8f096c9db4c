"""`compare_risk` and `compare_texts`: how a change of the model changes a probability, on the same inputs or texts.

Chance that both sides share cancels in the difference and the ratio: what makes an input rare does not count twice.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimate import Figures
from bathyscope.risk.estimators.naive import figures_of
from bathyscope.risk.estimators.steered import log_weights, weighted_figures
from bathyscope.risk.inputs.language import Around
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.inputs.writing import Writing
from bathyscope.risk.look import Look, Seen, concatenated
from bathyscope.risk.mixture import Mixture
from bathyscope.risk.problem import Problem, WrittenProblem
from bathyscope.risk.run import cost
from bathyscope.risk.written_look import WrittenLook


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure with its interval."""

    value: float
    """The figure."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two probabilities of the same event, and how they differ."""

    problem: str
    """What was asked."""
    before: Figures
    """Without the change."""
    after: Figures
    """With it."""
    difference: Change
    """P(after) - P(before)."""
    ratio: Change
    """P(after) / P(before); infinity, or not a number, where nothing was seen to divide by."""
    level: float
    """Nominal coverage of every interval."""
    n: int
    """Inputs or texts that both sides share."""
    cost: dict[str, int | float]
    """As of an `Estimate`."""
    seed: int
    """Of every draw."""


def compare_risk(
    problem: Problem,
    change: Problem | Around,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    batch_size: int = 256,
) -> Paired:
    """The probability before and after a change, from inputs that are drawn once and read by both sides.

    `change` makes a block inside which the model runs (`lambda: bs.steer(model, operations)`), or is the same problem
    with another model. Each side spends half of the budget. Raises ConfigError for a change that has another law.
    """
    other, around = (change, nullcontext) if isinstance(change, Problem) else (problem, change)
    if other.inputs is not problem.inputs:
        raise ConfigError(f"{other.inputs.name} and {problem.inputs.name} are two laws; a pair is read on one")
    half = Budget(forward=max((budget or Budget()).forward // 2, 1), seconds=(budget or Budget()).seconds)
    looks = [Look(each, half, batch_size=batch_size) for each in (problem, other)]
    generator, seen = torch.Generator().manual_seed(seed), list[tuple[Seen, Seen]]()
    while (n := min(batch_size, *(look.room() for look in looks))) > 0:
        rows_NC = draw(problem.inputs, n, generator=generator)
        first = looks[0].at(rows_NC, remember=False)
        with around():
            seen.append((first, looks[1].at(rows_NC, remember=False)))
    sides = [concatenated(side) for side in zip(*seen, strict=True)]
    costs = [cost(look.ledger) for look in looks]
    return _paired(
        problem.name,
        [figures_of(side, is_smooth=problem.event.is_smooth, level=level) for side in sides],
        [side.value_N.numpy() for side in sides],
        level,
        {name: costs[0][name] + costs[1][name] for name in costs[0]} | {"seconds": costs[0]["seconds"]},
        seed,
    )


def compare_texts(
    problem: WrittenProblem,
    changed: Writing,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    proposals: Sequence[Writing] = (),
    batch_size: int = 256,
) -> Paired:
    """The probability of an event in written texts, and that under a changed law of the same texts.

    The texts are written by both laws (and `proposals`) in equal shares, and each is weighed for both. A changed law:
    `law.inside(lambda: bs.steer(model, operations), name=...)` or `dataclasses.replace(law, model=...)`. Raises
    ConfigError for a budget of fewer texts than laws.
    """
    look = WrittenLook(problem, budget or Budget(), batch_size=batch_size)
    laws = [problem.texts, changed, *proposals]
    mixture = Mixture(look, laws, torch.Generator().manual_seed(seed))
    if mixture.room() < len(laws):
        raise ConfigError(f"the budget pays for {mixture.room()} texts, {len(laws)} laws need one each; raise it")
    while (n := min(batch_size, mixture.room())) > 0:
        mixture.draw(n, np.full(len(laws), 1 / len(laws)))
    mixed = mixture.mixed()
    values = [np.zeros(mixture.n) for _ in range(2)]
    for law, value_N in enumerate(values):
        value_N[mixed.seen.value_N.numpy() > 0] = np.exp(log_weights(mixed, law))
    figures = [weighted_figures(mixed, law, level=level) for law in range(2)]
    return _paired(problem.name, figures, values, level, cost(look.ledger), seed)


def _paired(
    problem: str,
    figures: Sequence[Figures],
    values: Sequence[Float[NDArray[np.float64], " N"]],
    level: float,
    spent: dict[str, int | float],
    seed: int,
) -> Paired:
    """Both sides and their changes."""
    before, after = figures
    both_seen = math.isfinite(before.log_p) and math.isfinite(after.log_p)
    changes = seen_changes(*values, level=level) if both_seen else _bounded_changes(before, after)
    return Paired(
        problem=problem,
        before=before,
        after=after,
        difference=changes[0],
        ratio=changes[1],
        level=level,
        n=len(values[0]),
        cost=spent,
        seed=seed,
    )


def seen_changes(
    before_N: Float[NDArray[np.float64], " N"], after_N: Float[NDArray[np.float64], " N"], *, level: float
) -> tuple[Change, Change]:
    """Difference and ratio of the means of paired values, both above 0.

    Intervals: Student's for the mean difference; for the ratio the same in its logarithm (delta method), with the
    spread of after / mean(after) - before / mean(before).
    """
    from scipy.stats import t

    n, mean_before, mean_after = len(before_N), float(before_N.mean()), float(after_N.mean())
    reach = float(t.ppf((1 + level) / 2, max(n - 1, 1))) / math.sqrt(n)
    half = reach * float((after_N - before_N).std(ddof=1))
    half_log = reach * float((after_N / mean_after - before_N / mean_before).std(ddof=1))
    ratio, difference = mean_after / mean_before, mean_after - mean_before
    return (
        Change(value=difference, low=difference - half, high=difference + half),
        Change(value=ratio, low=ratio * math.exp(-half_log), high=ratio * math.exp(min(half_log, 700.0))),
    )


def _bounded_changes(before: Figures, after: Figures) -> tuple[Change, Change]:
    """Difference and ratio where a side has no hits, from the ends of both intervals: wider than nominal."""
    ends = [[math.exp(side.log_low), math.exp(side.log_high)] for side in (before, after)]
    (low_0, high_0), (low_1, high_1) = ends
    p_0, p_1 = math.exp(before.log_p), math.exp(after.log_p)
    ratio = p_1 / p_0 if p_0 else (math.inf if p_1 else math.nan)
    return (
        Change(value=p_1 - p_0, low=low_1 - high_0, high=high_1 - low_0),
        Change(value=ratio, low=low_1 / high_0, high=high_1 / low_0 if low_0 else math.inf),
    )
