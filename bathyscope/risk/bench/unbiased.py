"""Whether an estimator's mean over many independent runs is the truth: Student's test on one event."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.models.load import load_model
from bathyscope.risk.bench.methods import EACH, ONE_PASS
from bathyscope.risk.bench.unit import Unit
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimates import KIND, read_estimates, write_estimates
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate
from bathyscope.risk.worlds.truth import read_truth

SHARE = 16
"""A repeat has this part of the bench's budget."""


class Repeats(NamedTuple):
    """What repeating an estimator showed."""

    method: str
    """Name."""
    n: int
    """Repeats."""
    truth: float
    """The event's probability."""
    ratio: float
    """Mean estimate over truth."""
    t: float
    """(mean - truth) / standard error; beyond ±2.6 in 1 of 100 tests of an unbiased estimator."""


def unbiased(unit: Unit, n: int) -> Repeats:
    """`n` runs with seeds of their own on the likeliest of the unit's events, each at a sixteenth of the budget."""
    truth, law = read_truth(unit.truth)
    token = unit.tokens[0]
    out = Path(f"{unit.out}-repeated")
    budget = Budget(forward=max(1, unit.forward // SHARE))
    config = {"method": unit.method, "token": token, "n": n, "forward": budget.forward}
    recipe = Recipe(kind=KIND, config=config, seed=unit.seed, parents={"truth": unit.truth})
    if not artifacts.is_finished(out, recipe):
        estimator = {**ONE_PASS, **EACH}[unit.method]
        problem = Problem(model=load_model(unit.model), inputs=law, event=ArgmaxToken(token))
        with artifacts.draft(out, recipe) as work:
            found = []
            for number in range(n):
                with progress.listening(lambda _step: None):
                    found.append(estimate(problem, estimator, budget, seed=unit.seed + number, level=unit.level))
                progress.report("repeats", number + 1, n, "runs")
            write_estimates(work.path, found, truths=[truth[token]] * n)
    p_N = np.array([one.p for one in read_estimates(out)])
    error = float(p_N.std(ddof=1)) / math.sqrt(n)
    gap = float(p_N.mean()) - truth[token]
    return Repeats(
        method=unit.method,
        n=n,
        truth=truth[token],
        ratio=float(p_N.mean()) / truth[token],
        t=gap / error if error else math.inf,
    )
